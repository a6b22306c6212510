package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// certificates are files NAME.crt and NAME.key in one directory. kube-apiserver reads those of the front proxy again when they
// change, so a test may replace them.
type certificates struct{ dir string }

func (c *certificates) path(file string) string { return filepath.Join(c.dir, file) }

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func writeCertificates(dir string) (*certificates, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &certificates{dir}
	ca, err := c.writeAuthority("ca", "kubernetes")
	if err != nil {
		return nil, err
	}
	proxy, err := c.writeAuthority("front-proxy-ca", "front-proxy-ca")
	if err != nil {
		return nil, err
	}
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    []string{"localhost", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	client := func(name string, groups ...string) *x509.Certificate {
		return &x509.Certificate{
			Subject:     pkix.Name{CommonName: name, Organization: groups},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	for _, leaf := range []struct {
		file     string
		by       *authority
		template *x509.Certificate
	}{
		{"apiserver", ca, server},
		{"admin", ca, client("admin", "system:masters")},
		{"controller-manager", ca, client("system:kube-controller-manager")},
		{"front-proxy-client", proxy, client("front-proxy-client")},
	} {
		if _, err := c.write(leaf.file, leaf.template, leaf.by); err != nil {
			return nil, err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return c, c.writeKey("service-account", key)
}

func (c *certificates) writeAuthority(file, name string) (*authority, error) {
	return c.write(file, &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil)
}

// write signs template by an authority; without one it signs itself.
func (c *certificates) write(file string, template *x509.Certificate, by *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(c.path(file+".crt"), text, 0o600); err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key}, c.writeKey(file, key)
}

func (c *certificates) writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return os.WriteFile(c.path(file+".key"), text, 0o600)
}

// writeKubeconfig lets a user in by NAME.crt and NAME.key.
func (c *certificates) writeKubeconfig(path, url, user string) error {
	data := map[string][]byte{}
	for _, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		text, err := os.ReadFile(c.path(file))
		if err != nil {
			return err
		}
		data[file] = text
	}
	config := api.NewConfig()
	config.Clusters["test"] = &api.Cluster{Server: url, CertificateAuthorityData: data["ca.crt"]}
	config.AuthInfos[user] = &api.AuthInfo{
		ClientCertificateData: data[user+".crt"], ClientKeyData: data[user+".key"],
	}
	config.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: user}
	config.CurrentContext = "test"
	return clientcmd.WriteToFile(*config, path)
}
