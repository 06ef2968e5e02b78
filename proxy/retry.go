package proxy

// retry reports whether an attempt that failed may be made at another backend.
// What came to grief before the first byte of a response may; a response that is
// late may not, because the backend is still at work on it.
func (p *Proxy) retry(x *exchange, why reason) bool {
	switch why {
	case connectFailed, connectTimeout, overloaded, backendReset:
	default:
		return false
	}
	return x.tried.n < x.pool.attempts && x.repeatable()
}
