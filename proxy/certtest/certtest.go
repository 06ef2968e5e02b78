// Package certtest issues certificates for tests, from an authority of its own.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	// Pool holds the authority's certificate, for those that verify the others.
	Pool *x509.CertPool
}

// NewAuthority returns an authority for a test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, Pool: x509.NewCertPool()}
	a.key = ecdsaKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.cert = sign(t, template, template, a.key.Public(), a.key)
	a.Pool.AddCert(a.cert)
	return a
}

// Certificate returns the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Root returns the authority's own certificate.
func (a *Authority) Root() *x509.Certificate { return a.cert }

// PEM returns the authority's own certificate in PEM.
func (a *Authority) PEM() string { return string(pemOf("CERTIFICATE", a.cert.Raw)) }

// An Option changes the certificate to issue.
type Option func(c *x509.Certificate, key *crypto.Signer)

// RSA gives the certificate an RSA key of 2,048 bits in place of one on P-256.
func RSA(t testing.TB) Option {
	return func(_ *x509.Certificate, key *crypto.Signer) {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		*key = k
	}
}

// Expires sets when the certificate expires.
func Expires(at time.Time) Option {
	return func(c *x509.Certificate, _ *crypto.Signer) { c.NotAfter = at }
}

// Subject sets the certificate's subject.
func Subject(name pkix.Name) Option {
	return func(c *x509.Certificate, _ *crypto.Signer) { c.Subject = name }
}

// Issue returns a certificate for names and addresses, for servers and clients alike. The first
// name is its common name.
func (a *Authority) Issue(names []string, options ...Option) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(a.t),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for i, name := range names {
		if i == 0 {
			template.Subject.CommonName = name
		}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	var key crypto.Signer
	for _, o := range options {
		o(template, &key)
	}
	if key == nil {
		key = ecdsaKey(a.t)
	}
	leaf := sign(a.t, template, a.cert, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Write writes the authority's certificate to a file of a folder in PEM, and returns its path.
func (a *Authority) Write(folder, name string) (path string) {
	a.t.Helper()
	path = filepath.Join(folder, name)
	write(a.t, path, pemOf("CERTIFICATE", a.cert.Raw))
	return path
}

// Write writes a certificate and its key to NAME.pem and NAME.key of a folder, each by a rename, and
// returns their paths.
func Write(t testing.TB, c tls.Certificate, folder, name string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key")
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, pemOf("PRIVATE KEY", private))
	write(t, cert, pemOf("CERTIFICATE", c.Certificate[0]))
	return cert, key
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	err := os.WriteFile(path+".new", text, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func pemOf(kind string, bytes []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
}

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, template, parent *x509.Certificate, of crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, of, by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
