package message

// Own says which fields of requests the balancer writes itself because the config says so.
type Own struct {
	ClientField string // name of the client address field, in lower case; "" for X-Forwarded-For
	// Subject says that clients of TLS have to show certificates (server.tls.client_ca), and
	// X-Client-Subject tells backends whose.
	Subject bool
}

// isClientField reports whether the name is that of server.client_ip_header, or differs from it
// only in _ and -.
func (o *Own) isClientField(name []byte) bool {
	return len(name) == len(o.ClientField) && equalDashed(name, o.ClientField)
}

// subjectField is the name, in lower case, of the field that tells backends the subject of the
// client's certificate.
const subjectField = "x-client-subject"

// CheckSubject returns what is allowed in place of the name of a field of requests, for which a
// config may not use the one that tells the subject, or "".
func (o *Own) CheckSubject(name string) (allowed string) {
	if o.isSubject([]byte(name)) {
		return "another field: with server.tls.client_ca the balancer alone says in this one who the client is"
	}
	return ""
}

// isSubject reports whether a backend may take a field for the one in which the balancer tells the
// subject. Programs that read names as CGI does know letters and digits, and may take all else for
// the same byte.
func (o *Own) isSubject(name []byte) bool {
	if !o.Subject || len(name) != len(subjectField) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if want := subjectField[i]; c != want && (want != '-' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}
