package http1

import (
	"crypto/tls"
	"crypto/x509"
	"strings"

	"loadbalancer/proxy/message"
)

// Security is what the handshake of a client's connection of TLS has agreed on. It is immutable.
type Security struct {
	message.Security
	Version uint16 // such as tls.VersionTLS13

	signers *x509.CertPool // by which it has been verified; nil: none
}

// newSecurity returns what a handshake has agreed on. authorities sign the certificates of clients;
// nil: none is asked for.
func newSecurity(state tls.ConnectionState, authorities *x509.CertPool) *Security {
	s := &Security{Version: state.Version, signers: authorities}
	s.ServerName = strings.ToLower(state.ServerName)
	if len(state.PeerCertificates) > 0 {
		s.Subject = message.Subject(state.PeerCertificates[0])
	}
	s.Verified = authorities != nil && signedBy(authorities, state.VerifiedChains)
	return s
}

// signedBy reports whether a chain that was verified ends at one of the authorities. Those of the
// handshake may have been others.
func signedBy(authorities *x509.CertPool, chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		root := chain[len(chain)-1]
		if _, err := root.Verify(x509.VerifyOptions{Roots: authorities, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
			return true
		}
	}
	return false
}
