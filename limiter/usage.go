package limiter

import "time"

// Usage is what a registered client has done since the start of the process, its registration or
// the last reset, whichever came last. Each request is counted once, as allowed, limited or
// would-have-been limited.
type Usage struct {
	Tokens        float64   // in the bucket now
	Allowed       int64     // requests within the limit
	Limited       int64     // requests rejected, for want of a token or for too many under way
	ShadowLimited int64     // requests that passed because of Terms.Shadow alone
	TrialLimited  int64     // requests that Terms.Trial would have rejected, since it was set
	InFlight      int64     // requests under way now
	LastSeen      time.Time // of the last request, to the second; zero if there was none
}

// Usage returns what the client has done; ok is false if nobody registered it.
func (l *Limiter) Usage(id ID) (u Usage, ok bool) { return Usage{}, false }

// Reset makes the client's buckets full and its counts 0. What is under way stays. ok is false if
// nobody registered the client.
func (l *Limiter) Reset(id ID) (ok bool) { return false }

// Limited is a client that gets rejected.
type Limited struct {
	Client     string // the address, the IPv6 network, the range or the name
	Registered bool
	Shadow     bool  // nothing was rejected, but would have been without Terms.Shadow
	Rejections int64 // in the last minute, at least
}

// Limited returns at most n of the clients that were rejected in the last minute, those with most
// rejections first.
func (l *Limiter) Limited(n int) []Limited { return nil }
