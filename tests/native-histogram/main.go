// Serves a metrics page with histograms of the client library that most Kubernetes workloads use, and observes the
// durations that a test sends.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	native := prometheus.HistogramOpts{
		Name:                        "native_seconds",
		Help:                        "Native buckets only.",
		NativeHistogramBucketFactor: 1.1,
	}
	bounded := native
	bounded.Name = "bounded_seconds"
	bounded.Help = "So few native buckets that the library makes them coarser."
	bounded.NativeHistogramMaxBucketNumber = 20
	bounded.NativeHistogramMaxZeroThreshold = 0.01
	both := native
	both.Name = "both_seconds"
	both.Help = "Native and classic buckets."
	both.Buckets = prometheus.DefBuckets

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	histograms := make([]prometheus.Observer, 0, 3)
	for _, opts := range []prometheus.HistogramOpts{native, bounded, both} {
		byHandler := prometheus.NewHistogramVec(opts, []string{"handler"})
		registry.MustRegister(byHandler)
		byHandler.WithLabelValues("/metrics").Observe(0.001)
		histograms = append(histograms, byHandler.WithLabelValues("/"))
	}

	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// The body has one duration a line, in seconds.
	http.HandleFunc("/observe", func(w http.ResponseWriter, r *http.Request) {
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			seconds, err := strconv.ParseFloat(lines.Text(), 64)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			for _, histogram := range histograms {
				histogram.Observe(seconds)
			}
		}
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
