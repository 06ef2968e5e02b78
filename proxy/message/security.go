package message

import "bytes"

// Security is what the TLS of a connection tells of its client. It is made once for each
// connection, and is immutable.
type Security struct {
	// ServerName is the name that the client asked for (SNI), in lower case and without the dot of
	// the DNS root; "" if it asked for none.
	ServerName string
	// Subject is that of the certificate that the client has shown, as returned by the function
	// Subject; "" if it has shown none. It is the client's if Verified.
	Subject string
	// Verified reports whether an authority of server.tls.client_ca signs the certificate.
	Verified bool
}

// admits reports whether the connection may carry requests for an authority where clients have to
// show certificates: the client has shown one, and has asked for that name. An authority that is
// empty or an address is no name, for which a client can ask.
func (s *Security) admits(authority []byte) bool {
	if !s.Verified {
		return false
	}
	host, _, _ := bytes.Cut(authority, colon)
	host = bytes.TrimSuffix(host, dot)
	if len(host) == len(s.ServerName) && equalFold(host, s.ServerName) {
		return true
	}
	return len(authority) == 0 || s.ServerName == "" && (authority[0] == '[' || isIPv4(host))
}

// isIPv4 reports whether a host is an IPv4 address: four numbers up to 255.
func isIPv4(host []byte) bool {
	for i := range 4 {
		part, rest, more := bytes.Cut(host, dot)
		n, ok := parseLength(part)
		if !ok || n > 255 || len(part) > 3 || more != (i < 3) {
			return false
		}
		host = rest
	}
	return true
}

var (
	colon = []byte(":")
	dot   = []byte(".")
)
