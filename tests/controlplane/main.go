// Controlplane is a real Kubernetes control plane in one program, for tests: etcd, kube-apiserver with its aggregation
// layer, and kube-controller-manager, all on loopback. There are no nodes, no scheduler and no network; whoever uses it
// says which pods run.
//
//	controlplane --dir DIR [-- FLAGS OF KUBE-CONTROLLER-MANAGER]
//
// It keeps everything below DIR, writes DIR/admin.kubeconfig, prints "ready" on standard output once the API answers, and
// ends when its standard input does, or at SIGINT or SIGTERM. So nobody who dies leaves it behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// The first argument by which the program is told to be kube-controller-manager: it is a process of its own, since both servers
// set the same global feature gates and loggers.
const controllerManager = "kube-controller-manager"

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == controllerManager {
		go endWithParent()
		err = runControllerManager(os.Args[2:])
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func run() error {
	dir := flag.String("dir", "", "where certificates, data and logs are kept; made if it is not there")
	flag.Parse()
	if *dir == "" {
		return errors.New("--dir is needed")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	root, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	pki, err := writeCertificates(filepath.Join(root, "pki"))
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	etcd, err := startEtcd(filepath.Join(root, "etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer etcd.Close()

	api, err := startAPIServer(ctx, etcd.Clients[0].Addr().String(), pki)
	if err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	admin := filepath.Join(root, "admin.kubeconfig")
	if err := pki.writeKubeconfig(admin, api.url, "admin"); err != nil {
		return err
	}
	if err := pki.writeKubeconfig(pki.path("controller-manager.kubeconfig"), api.url, "controller-manager"); err != nil {
		return err
	}
	waiting, waited := context.WithTimeout(ctx, 2*time.Minute)
	defer waited()
	if err := api.waitUntilReady(waiting, admin); err != nil {
		return fmt.Errorf("kube-apiserver does not become ready: %w", err)
	}
	manager, err := startControllerManager(root, pki, flag.Args())
	if err != nil {
		return fmt.Errorf("%s: %w", controllerManager, err)
	}
	fmt.Println("ready")

	select {
	case err = <-manager.ended:
		err = fmt.Errorf("%s ended: %w", controllerManager, err)
	case err = <-api.ended:
		err = fmt.Errorf("kube-apiserver ended: %w", err)
	case err = <-etcd.Err():
		err = fmt.Errorf("etcd ended: %w", err)
	case <-ctx.Done():
	}
	manager.stop()
	cancel()
	select {
	case <-api.ended:
	case <-time.After(5 * time.Second):
	}
	return err
}
