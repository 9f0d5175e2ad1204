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
)

const validity = 365 * 24 * time.Hour

// authority signs the certificates of one cluster.
type authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// writeCertificates fills folder with a certificate authority, what the apiserver and the kubelet show to their clients
// (both are called by hosts: names and addresses), and what the apiserver shows to the kubelet and to API extensions.
func writeCertificates(folder string, hosts []string) error {
	signer := &authority{folder: folder}
	serving, client := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	kubelet := pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}}
	for _, wanted := range []struct {
		file  string
		name  pkix.Name
		hosts []string
		usage []x509.ExtKeyUsage
	}{
		{"ca", pkix.Name{CommonName: "forebay-test"}, nil, nil},
		{"apiserver", pkix.Name{CommonName: "kube-apiserver"}, hosts, []x509.ExtKeyUsage{serving}},
		{"kubelet", pkix.Name{CommonName: "kubelet"}, hosts, []x509.ExtKeyUsage{serving}},
		{"apiserver-kubelet-client", kubelet, nil, []x509.ExtKeyUsage{client}},
		{"front-proxy-client", pkix.Name{CommonName: "front-proxy-client"}, nil, []x509.ExtKeyUsage{client}},
		// A key pair only: service account tokens are signed with it.
		{"service-account", pkix.Name{CommonName: "service-account"}, nil, nil},
	} {
		if err := signer.issue(wanted.file, describe(wanted.name, wanted.hosts, wanted.usage)); err != nil {
			return err
		}
	}
	return nil
}

func describe(name pkix.Name, hosts []string, usage []x509.ExtKeyUsage) *x509.Certificate {
	now := time.Now()
	described := &x509.Certificate{
		Subject:               name,
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			described.IPAddresses = append(described.IPAddresses, address)
		} else {
			described.DNSNames = append(described.DNSNames, host)
		}
	}
	return described
}

// issue writes FILE.crt and FILE.key. The first certificate is the authority itself.
func (signer *authority) issue(file string, described *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if described.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return err
	}
	if signer.certificate == nil {
		described.IsCA = true
		described.KeyUsage |= x509.KeyUsageCertSign
		signer.certificate, signer.key = described, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, described, signer.certificate, &key.PublicKey, signer.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := signer.write(file+".key", "EC PRIVATE KEY", private); err != nil {
		return err
	}
	return signer.write(file+".crt", "CERTIFICATE", signed)
}

func (signer *authority) write(file, kind string, content []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	return os.WriteFile(filepath.Join(signer.folder, file), text, 0o600)
}
