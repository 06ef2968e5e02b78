package http2

import "time"

// allowance bounds the frames that cost a client nothing and the balancer some work, such as a PING
// or a reset. It is spent by these, and grows with time and with the work that a client has done for
// it. The zero value is full once begin was called.
type allowance struct {
	left int
	at   time.Time // when it has grown with time last
}

// What things are worth. A reset of a stream that has no response yet is dear, since its work was
// for nothing: see CVE-2023-44487. A client may open and reset 250 streams at once, as a browser
// does whose user goes on, twice within a moment.
const (
	fullAllowance  = 5000
	costOfFrame    = 1
	costOfReset    = 10
	earnedByAnswer = 20
	earnedByData   = 3   // a client answers each DATA with up to two WINDOW_UPDATEs
	earnedBySecond = 500 // a PING now and then, or the resets of a page that is left
)

func (a *allowance) begin(now time.Time) { a.left, a.at = fullAllowance, now }

// earn adds to what is left.
func (a *allowance) earn(n int) { a.left = min(fullAllowance, a.left+n) }

// spend takes n from what is left. ok is false if that is not enough. now is called only if it may
// matter.
func (a *allowance) spend(n int, now func() time.Time) (ok bool) {
	if a.left < n {
		at := now()
		if grown := int(min(at.Sub(a.at), time.Minute) * earnedBySecond / time.Second); grown > 0 {
			a.earn(grown)
			a.at = at
		}
	}
	if a.left < n {
		return false
	}
	a.left -= n
	return true
}
