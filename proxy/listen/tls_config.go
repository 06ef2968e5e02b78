package listen

import (
	"crypto/tls"
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"

	"loadbalancer/proxy/acme"
)

// TLSConfig is the section server.tls. Its zero value, but for MinVersion, means that no TLS is
// spoken.
type TLSConfig struct {
	Listen       Address             `yaml:"listen"` // zero: server.listen speaks TLS
	Certificates []CertificateConfig `yaml:"certificates"`
	ACME         acme.Config         `yaml:"acme"`
	MinVersion   TLSVersion          `yaml:"min_version"`
	// ClientCA is a file with the authorities of clients' certificates; "": clients show none.
	ClientCA string `yaml:"client_ca"`
	// RedirectFrom is the address of a listener that sends clients to https; zero: there is none.
	RedirectFrom Address `yaml:"redirect_from"`
}

// CertificateConfig names the files, in PEM, of a certificate with its chain and of its key.
type CertificateConfig struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// TLSVersion is a version of TLS, as package tls numbers them.
type TLSVersion uint16

// String returns the version as the config has it.
func (v TLSVersion) String() string {
	if v == tls.VersionTLS13 {
		return "1.3"
	}
	return "1.2"
}

// UnmarshalYAML parses 1.2 or 1.3, with or without quotes.
func (v *TLSVersion) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "1.2":
		*v = tls.VersionTLS12
	case n.Kind == yaml.ScalarNode && n.Value == "1.3":
		*v = tls.VersionTLS13
	default:
		return errors.New(`"1.2" or "1.3"`)
	}
	return nil
}

// DefaultTLSConfig speaks no TLS.
func DefaultTLSConfig() TLSConfig {
	return TLSConfig{ACME: acme.DefaultConfig(), MinVersion: tls.VersionTLS12}
}

// IsOn reports whether TLS is spoken: there is a certificate, or will be.
func (c TLSConfig) IsOn() bool { return len(c.Certificates) > 0 || c.ACME.Enabled() }

// Validate calls wrong once for each fault, with its path below server.tls. It reads the files of
// the certificates.
func (c TLSConfig) Validate(wrong func(path string, value any, allowed string)) {
	if !c.Listen.IsZero() && !c.IsOn() {
		wrong("listen", c.Listen, needsCertificate)
	}
	if !c.RedirectFrom.IsZero() && !c.IsOn() {
		wrong("redirect_from", c.RedirectFrom, needsCertificate)
	}
	c.validateClientCA(wrong)
	c.ACME.Validate(func(path string, value any, allowed string) { wrong("acme."+path, value, allowed) })
	for i, pair := range c.Certificates {
		at := fmt.Sprintf("certificates[%d]", i)
		if pair.Certificate == "" {
			wrong(at+".certificate", "", allowedCertificate)
		}
		if pair.Key == "" {
			wrong(at+".key", "", allowedKey)
		}
		if pair.Certificate == "" || pair.Key == "" {
			continue
		}
		for _, fault := range pair.faults() {
			wrong(at+"."+fault.key, fault.file, fault.allowed()+" ("+fault.cause.Error()+")")
		}
	}
}

// validateClientCA checks the file of the authorities.
func (c TLSConfig) validateClientCA(wrong func(path string, value any, allowed string)) {
	if c.ClientCA == "" {
		return
	}
	if !c.IsOn() {
		wrong("client_ca", c.ClientCA, needsCertificate)
	} else if err := readAuthorities(c.ClientCA); err != nil {
		wrong("client_ca", c.ClientCA, allowedAuthority+" ("+err.Error()+")")
	}
}

const needsCertificate = `"", or list a certificate in server.tls.certificates or a domain in server.tls.acme.domains`

const (
	allowedCertificate = "a file with the certificate and its chain, in PEM"
	allowedKey         = "a file with the certificate's private key, in PEM and without a password"
)
