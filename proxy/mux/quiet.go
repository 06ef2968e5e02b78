package mux

import (
	"errors"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/wire"
)

// A backend whose machine has gone leaves a stream waiting for as long as its time-outs allow, up to
// timeouts.tunnel. So a connection with streams on which nothing comes is asked for a sign of life.
const (
	// pingAfter is the silence before the first ping.
	pingAfter = 15 * time.Second
	// pingEvery is the least time between two pings in a silence. Servers of gRPC take pings that come
	// more often than every 5 minutes, while they send nothing, for abuse.
	pingEvery = 5*time.Minute + 10*time.Second
	// deadAfter is how long the answer may take.
	deadAfter = 10 * time.Second
)

var errDead = errors.New("the backend did not answer a ping within 10s")

// quiet decides what a silence on a connection means. It belongs to the reader of the connection.
type quiet struct {
	busy    atomic.Bool // there are streams; any goroutine's
	pinged  time.Time   // the last ping; zero: there was none, or the backend has sent something of a stream since
	waiting bool        // for the answer
}

// sent notes that the backend has sent something of a stream.
func (q *quiet) sent() { q.pinged = time.Time{} }

// heard notes that something has come.
func (q *quiet) heard() { q.waiting = false }

// wait returns how long a read may take.
func (q *quiet) wait() time.Duration {
	if q.waiting {
		return deadAfter
	}
	return pingAfter
}

// next returns what is to be done after nothing has come for the time of wait.
func (q *quiet) next(now time.Time) (ping, dead bool) {
	switch {
	case q.waiting:
		return false, true
	case !q.busy.Load(), !q.pinged.IsZero() && now.Sub(q.pinged) < pingEvery:
		return false, false
	}
	q.pinged, q.waiting = now, true
	return true, false
}

// patient reads from a connection, whatever its silences.
type patient struct{ *Conn }

func (c patient) Read(p []byte) (int, error) {
	for {
		c.wire.ExpectRead(time.Now(), c.quiet.wait())
		n, err := c.wire.Read(p)
		if n > 0 {
			c.quiet.heard()
			return n, nil
		}
		if !wire.TimedOut(err) {
			return n, err
		}
		switch ping, dead := c.quiet.next(time.Now()); {
		case dead:
			return 0, errDead
		case ping:
			w := &c.writer
			w.mu.Lock()
			_ = w.framer.WritePing(false, [8]byte{'l', 'b'})
			w.flush()
		}
	}
}
