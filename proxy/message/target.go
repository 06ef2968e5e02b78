package message

import "bytes"

// readTarget splits the request target. The backend gets origin-form: path and query as received,
// and one authority. target must be a private copy, since it may be changed.
func (r *Request) readTarget(target []byte) (fault error) {
	if len(target) == 0 || !Target.HasAll(target) {
		return ErrTarget
	}
	if r.HTTP2 && target[0] != '/' && target[0] != '*' {
		return errPath // RFC 9113, section 8.3.1
	}
	if target[0] == '/' {
		r.Target = target
		return nil
	}
	if len(target) == 1 && target[0] == '*' {
		if string(r.Method) != "OPTIONS" {
			return ErrTarget
		}
		r.Target = target
		return nil
	}
	return r.readAbsoluteForm(target)
}

// readAbsoluteForm splits scheme://authority/path?query (RFC 9112, section 3.2.2).
func (r *Request) readAbsoluteForm(target []byte) (fault error) {
	begin, defaultPort := schemeOf(target)
	if begin == 0 {
		return ErrTarget
	}
	end, path := len(target), rootPath
	if i := bytes.IndexAny(target[begin:], "/?"); i >= 0 {
		end = begin + i
		path = target[end:]
	} else if string(r.Method) == "OPTIONS" {
		path = asterisk // RFC 9112, section 3.2.4
	}
	authority := target[begin:end]
	if len(authority) == 0 || authority[0] == ':' || !isHost(authority) {
		return ErrTarget // RFC 9110, section 4.2.1: no http URI has an empty host
	}
	if len(r.Authority) > 0 && !bytes.EqualFold(withoutPort(authority, defaultPort), withoutPort(r.Authority, defaultPort)) {
		return errAuthority // route and forward by the same authority
	}
	if path[0] == '?' { // an empty path is / in origin-form: make room for it
		authority = target[begin-1 : begin-1+copy(target[begin-1:], authority)]
		path = target[end-1:]
		path[0] = '/'
	}
	if len(r.Authority) == 0 {
		r.Authority = authority
	}
	r.Target = path
	return nil
}

// schemeOf returns where the authority of an absolute-form target begins, and the default port of
// its scheme. It returns 0 if the scheme is not one of HTTP's.
func schemeOf(target []byte) (authority int, defaultPort []byte) {
	const http, https = "http://", "https://"
	switch {
	case len(target) >= len(http) && equalFold(target[:len(http)], http):
		return len(http), portOfHTTP
	case len(target) >= len(https) && equalFold(target[:len(https)], https):
		return len(https), portOfHTTPS
	}
	return 0, nil
}

// withoutPort strips the default port, or an empty one, from an authority.
func withoutPort(authority, defaultPort []byte) []byte {
	authority = bytes.TrimSuffix(authority, defaultPort)
	return bytes.TrimSuffix(authority, defaultPort[:1])
}

var (
	portOfHTTP  = []byte(":80")
	portOfHTTPS = []byte(":443")
	rootPath    = []byte("/")
	asterisk    = []byte("*")
)
