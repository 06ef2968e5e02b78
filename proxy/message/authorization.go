package message

// connectionSchemes are how the names of the schemes begin that authenticate a connection, and not
// a request alone: NTLM, and Negotiate (RFC 4559, section 6) with its successor Nego2.
var connectionSchemes = [...]string{"ntlm", "nego"}

// authenticatesConnection reports whether credentials are those of the connection that they come
// on: a backend takes the requests that follow there for the same user's.
func authenticatesConnection(credentials []byte) bool {
	for _, scheme := range connectionSchemes {
		if len(credentials) >= len(scheme) && equalFold(credentials[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}
