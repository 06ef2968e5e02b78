package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// TLSConfig is the tls section of a pool: how it speaks TLS with its backends of https://. Paths are
// relative to the working directory. The zero value is valid.
type TLSConfig struct {
	CA         string `yaml:"ca"`          // certificates in PEM of the authorities that may sign a backend's; "": the system's
	ServerName string `yaml:"server_name"` // that is sent (SNI), and that the certificates must be for; "": the host of a backend's URL
	// Certificate is shown to backends that ask for one, with those between it and its authority, in
	// PEM; "": none.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"` // of Certificate, in PEM
	// InsecureSkipVerify lets any certificate pass, and so anything on the way read and change what
	// is sent.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
}

// files returns the paths of the files, each with its key.
func (c *TLSConfig) files() (all []tlsFile) {
	for _, f := range []tlsFile{{key: "ca", path: c.CA}, {key: "certificate", path: c.Certificate}, {key: "key", path: c.Key}} {
		if f.path != "" {
			all = append(all, f)
		}
	}
	return all
}

// validate calls wrong once for each fault, with its path below the pool. It reads the files.
// isUsed reports whether a backend speaks TLS.
func (c *TLSConfig) validate(isUsed bool, wrong func(path string, value any, allowed string)) {
	if *c != (TLSConfig{}) && !isUsed {
		wrong("tls", "set without a backend that speaks TLS", "it with a backend whose url is https://host:port, or remove it")
	}
	if c.ServerName != "" && !isSubject(c.ServerName) {
		wrong("tls.server_name", c.ServerName, "a host name or an address, without a port, such as api.internal")
	}
	switch {
	case c.Certificate != "" && c.Key == "":
		wrong("tls.key", "", "the file with the key of tls.certificate")
	case c.Key != "" && c.Certificate == "":
		wrong("tls.certificate", "", "the file with the certificate of tls.key")
	}
	read := newCredentials(*c).read()
	for _, f := range read.faults {
		wrong("tls."+f.key, f.path, f.allowed()+": "+f.err.Error())
	}
}

// isSubject reports whether a certificate may be for a name or address.
func isSubject(text string) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Zone() == ""
	}
	return isHostField(text) && !strings.Contains(text, ":") && checkBackendHost(text) == nil
}

// allowed says what the file has to hold.
func (f *tlsFile) allowed() string {
	switch f.key {
	case "ca":
		return "a file of certificates in PEM"
	case "certificate":
		return "the file of a certificate in PEM"
	}
	return "the file of the certificate's key in PEM"
}

// fileFault is what is wrong with one of the files.
type fileFault struct {
	*tlsFile
	err error
}

func (f fileFault) Error() string { return "tls." + f.key + ": " + f.path + ": " + f.err.Error() }

func (f fileFault) Unwrap() error { return f.err }

var errNoCertificate = errors.New("it has no certificate in PEM")

// parseCertificates returns the certificates of a file in PEM, of which there must be one.
func parseCertificates(text []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errNoCertificate
	}
	return all, nil
}

// parsePair returns a certificate with its key, or the fault of one of the files.
func parsePair(certificate, key *tlsFile) (*tls.Certificate, *fileFault) {
	if _, err := parseCertificates(certificate.text); err != nil {
		return nil, &fileFault{certificate, err}
	}
	pair, err := tls.X509KeyPair(certificate.text, key.text)
	if err != nil {
		return nil, &fileFault{key, err}
	}
	return &pair, nil
}
