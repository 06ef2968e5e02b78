package healthz

import "time"

// AnyClient stands for the client of a failure that no client can cause, such as a connect that is
// refused.
const AnyClient = 0

// Ejector decides when a backend is ejected because of consecutive failures, and for how long. No
// single client can have a backend ejected that serves others: failures of one client alone count
// only where no other was served lately. The zero value is ready. It is not safe for concurrent
// use, and reads no clock.
type Ejector struct {
	streak    int
	client    uint64 // of the streak's first failure
	several   bool   // the streak has failures of more than one client, or that no client can cause
	ejections int    // so far, each longer than the one before
	until     time.Time
}

// Success notes a request that the backend has answered.
func (e *Ejector) Success() { e.streak = 0 }

// Failure notes a request of the client that has failed because of the backend, and reports whether
// that is reason to eject it. othersServed reports whether the backend has served another client
// lately. A request that began before the backend came back counts for nothing: it met the backend
// of that time.
func (e *Ejector) Failure(c *Ejection, client uint64, began time.Time, othersServed bool) bool {
	if c.Failures == 0 || began.Before(e.until) {
		return false
	}
	switch {
	case client == AnyClient:
		e.several = true
	case e.streak == 0:
		e.client, e.several = client, false
	case client != e.client:
		e.several = true
	}
	e.streak++
	return e.streak >= c.Failures && (e.several || !othersServed)
}

// Streak returns the number of consecutive failures.
func (e *Ejector) Streak() int { return e.streak }

// Eject notes that the backend is ejected now, and returns for how long. A backend that was in for
// as long as Max since its last ejection begins with Base again.
func (e *Ejector) Eject(c *Ejection, now time.Time) time.Duration {
	if e.ejections > 0 && now.Sub(e.until) >= c.Max {
		e.ejections = 0
	}
	out := c.Base
	for i := 0; i < e.ejections && out < c.Max; i++ {
		out *= 2
	}
	out = min(out, c.Max)
	e.ejections++
	e.streak = 0
	e.until = now.Add(out)
	return out
}

// Until returns when the last ejection ends or has ended.
func (e *Ejector) Until() time.Time { return e.until }

// Readmit notes that the ejection ends now, if it has not ended before.
func (e *Ejector) Readmit(now time.Time) {
	if now.Before(e.until) {
		e.until = now
	}
}

// What makes a share of 5xx stand out: answers in the window that are needed, the least share, and
// how far above the median of the peers it is, in per cent.
const (
	minAnswers = 20
	minShare   = 50
	minAbove   = 30
)

// Answers are the answers of a backend in the last ten seconds.
type Answers struct {
	All    int // answers
	Failed int // of these, with a 5xx status
	Turns  int // of the failed ones, those of another client than the failed one before
}

// Share returns the share of failed answers in per cent, and 0 if there was no answer.
func (a Answers) Share() int {
	if a.All == 0 {
		return 0
	}
	return a.Failed * 100 / a.All
}

// StandOut reports whether the share of 5xx is reason to eject the backend, where the median share
// of its peers is median. Where another client was served lately, a quarter of the backend's answers
// must be 5xx of changing clients: one client at one broken page is none.
func (a Answers) StandOut(median int, othersServed bool) bool {
	if a.All < minAnswers || a.Share() < minShare || a.Share() < median+minAbove {
		return false
	}
	return !othersServed || a.Turns*4 >= a.All
}

// MinWaiting is how many requests must wait at a backend whose silence is reason to eject it, and
// minOthers how many of them must not be of one client, where others were served.
const (
	MinWaiting = 8
	minOthers  = 6
)

// Silent reports whether silence that has lasted long enough is reason to eject a backend: so many
// requests wait there, and a peer has answered in that time. others is how many of them are not of
// the client of which most are. Where another client than that was served lately, enough must be:
// otherwise it may be what one client asks for that takes its time.
func Silent(waiting int, peersAnswered bool, others int, othersServed bool) bool {
	return waiting >= MinWaiting && peersAnswered && (!othersServed || others >= minOthers)
}
