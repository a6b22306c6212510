package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func startEtcd(dir string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir = dir
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	// Port 0: the system chooses.
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{local}, []url.URL{local}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case <-time.After(time.Minute):
		etcd.Close()
		return nil, errors.New("not ready within a minute")
	}
}

type apiServer struct {
	url   string
	ended chan error
}

func startAPIServer(ctx context.Context, etcd string, pki *certificates) (*apiServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	run := options.NewServerRunOptions()
	registry := run.GenericServerRunOptions.ComponentGlobalsRegistry
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	sets := run.Flags()
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	err = flags.Parse([]string{
		"--etcd-servers=http://" + etcd,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + pki.path("apiserver.crt"),
		"--tls-private-key-file=" + pki.path("apiserver.key"),
		"--client-ca-file=" + pki.path("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki.path("service-account.key"),
		"--service-account-signing-key-file=" + pki.path("service-account.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--requestheader-client-ca-file=" + pki.path("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki.path("front-proxy-client.crt"),
		"--proxy-client-key-file=" + pki.path("front-proxy-client.key"),
		"--v=0",
	})
	if err != nil {
		return nil, err
	}
	if err := registry.Set(); err != nil {
		return nil, err
	}
	run.SecureServing.Listener = listener
	completed, err := run.Complete(ctx)
	if err != nil {
		return nil, err
	}
	if wrong := completed.Validate(); len(wrong) != 0 {
		return nil, errors.Join(wrong...)
	}
	server := &apiServer{url: fmt.Sprintf("https://127.0.0.1:%d", port), ended: make(chan error, 1)}
	go func() { server.ended <- apiserver.Run(ctx, completed) }()
	return server, nil
}

// waitUntilReady returns when the API is ready and has the namespace that everyone takes for granted.
func (s *apiServer) waitUntilReady(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			_, err = client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		}
		if err == nil {
			return nil
		}
		select {
		case ended := <-s.ended:
			return errors.Join(errors.New("it ended"), ended)
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

type child struct {
	stdin io.Closer
	ended chan error
}

// stop ends the child: it lives as long as its standard input.
func (c *child) stop() {
	_ = c.stdin.Close()
}

func startControllerManager(root string, pki *certificates, more []string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(root, controllerManager+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{
		controllerManager,
		"--kubeconfig=" + pki.path("controller-manager.kubeconfig"),
		"--secure-port=0",
		"--root-ca-file=" + pki.path("ca.crt"),
		"--service-account-private-key-file=" + pki.path("service-account.key"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--controllers=horizontal-pod-autoscaler-controller,deployment-controller,replicaset-controller," +
			"statefulset-controller,serviceaccount-controller,serviceaccount-token-controller,namespace-controller," +
			"garbage-collector-controller,endpointslice-controller,disruption-controller",
	}, more...)
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = log, log
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	started := &child{stdin: stdin, ended: make(chan error, 1)}
	go func() { started.ended <- command.Wait() }()
	return started, nil
}

func runControllerManager(args []string) error {
	command := manager.NewControllerManagerCommand()
	command.SetArgs(args)
	return command.Execute()
}
