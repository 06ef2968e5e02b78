package proxy

// Edge is what clients get from the listeners, before their requests go by any other setting.
type Edge struct {
	Ports       Ports // for Explain
	ClientCerts bool  // those of TLS have to show certificates: server.tls.client_ca is set
	// Challenge returns the answer to a challenge of ACME by HTTP-01 (RFC 8555, section 8.3): the
	// key authorization of a token. host is in lower case, without port and brackets. It is called
	// concurrently. nil: there is none.
	Challenge func(host, token string) (keyAuthorization string, ok bool)
}

// Ports are those of the listeners of clients; 0 is none, and -1 one that is not known before it is
// opened, or has no port.
type Ports struct {
	TLS      int
	TLSAlone bool // server.listen speaks TLS: no request is forwarded that comes in the clear
	Redirect int  // server.tls.redirect_from
}
