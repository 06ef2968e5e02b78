package ends

import (
	"sync"
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Upload is what a Call knows of a request body that a goroutine of its own sends to the backend.
// The goroutine owns the reading of the body and its Replay, and the writing side of the backend's
// connection. The one that owns the call waits for its end: see Wait. Another attempt begins with
// what was kept of the body, and continues where the previous one stopped reading. Init must have
// been called once.
type Upload struct {
	Started bool // in this attempt; the call's
	done    chan struct{}

	mu       sync.Mutex
	header   bool // the response's header has come: its deadline is set elsewhere
	accepted bool // the response is the one that the client gets
	watched  bool // the client is watched: so is the longer wait for the header
	taken    bool // the whole body has been read from the client, in this attempt or before
	finished bool // result and endedAt are valid
	endedAt  time.Time
	result   reason.Code // reason.None: the whole body was sent
	cause    error       // of result
}

// Awaited is the response that the owner of a call waits for. Any goroutine may call its methods.
type Awaited interface {
	Stop()               // ends the wait
	BoundRead(time.Time) // ends the wait for the header at a time; zero: it does not end
	AllowRecall()        // lets the pool interrupt the wait for the first byte
}

// Init readies an upload.
func (u *Upload) Init() { u.done = make(chan struct{}, 1) }

// Cleared returns the upload, which does not run, for another exchange.
func (u *Upload) Cleared() Upload { return Upload{done: u.done} }

// Begin is called before the goroutine starts.
func (u *Upload) Begin() {
	u.Started, u.header, u.accepted, u.watched, u.finished, u.result, u.cause = true, false, false, false, false, reason.None, nil
}

// Finish is called by the goroutine at its end, with the reason and the cause of a failure. wait is
// how long the header of the response may take from now on, and mayRecall whether the pool may
// interrupt that wait, if the body was kept.
func (u *Upload) Finish(s Stream, a Awaited, why reason.Code, cause error, wait time.Duration, mayRecall bool) {
	u.mu.Lock()
	// Before the deadline wakes the reader of the response, which asks for the result.
	u.finished, u.result, u.cause = true, why, cause
	switch {
	case u.header && (why == reason.ResponseTimeout || why == reason.RequestTimeout):
		// A backend that has answered need not read on, nor its client send more.
	case why != reason.None && why != reason.BackendReset:
		a.Stop() // there will be no response, or no more of one
	case !u.header:
		u.endedAt = time.Now()
		if !u.watched {
			wait = min(wait, s.WatchAfter())
		}
		a.BoundRead(u.endedAt.Add(wait))
		if mayRecall && why == reason.None && !s.Replay.Lost() {
			a.AllowRecall()
		}
	}
	if u.accepted {
		s.Replay.Lose() // the request will not be sent again
	}
	u.mu.Unlock()
	u.done <- struct{}{}
}

// WaitOn lets the wait for the response's header continue. Until the body is sent, the backend may
// be silent for as long as that takes.
func (u *Upload) WaitOn(a Awaited, wait time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watched = true
	until := time.Time{}
	if u.finished {
		until = u.endedAt.Add(wait)
	}
	a.BoundRead(until)
}

// HeaderCame notes that the header of the final response has come: Finish bounds nothing from now
// on. It returns the time since the end of the body, or 0 if that is still to come.
func (u *Upload) HeaderCame() (waited time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.header = true
	if u.finished {
		waited = time.Since(u.endedAt)
	}
	return waited
}

// Replayable reports whether the body, if there was an upload, has been read to its end and was
// kept.
func (u *Upload) Replayable(s Stream) bool {
	if !u.Started {
		return !s.Replay.Lost()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.taken && !s.Replay.Lost() // from taken on, that does not change before Accept
}

// Accept gives up what was kept of the body: the request will not be sent again. While the upload
// runs, its goroutine will do that.
func (u *Upload) Accept(s Stream) {
	if !u.Started {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.accepted = true; u.finished {
		s.Replay.Lose()
	}
}

// Failure returns why the body could not be sent, as far as is known.
func (u *Upload) Failure() (reason.Code, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.result, u.cause
}

// ClientsFailure is Failure for what has cut the request short, and the response with it. That the
// backend reads no further is none: the response tells.
func (u *Upload) ClientsFailure() (why reason.Code, cause error) {
	if why, cause = u.Failure(); why == reason.BackendReset {
		return reason.None, nil
	}
	return why, cause
}

// Taken records that the client's connection is at the start of the next request. It is called
// before the last write, because the response may come right after that.
func (u *Upload) Taken() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.taken = true
}

// Complete reports whether the whole body has been read from the client, so that its connection can
// be kept.
func (u *Upload) Complete() bool {
	if !u.Started { // as for nearly all requests, which then take no lock
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.taken
}

// Wait ends an upload that still runs, whose writes w.Stop interrupts. sent reports whether the whole
// body was sent, and stopped whether w.Stop was called. Whatever the client has not sent yet is read
// by another attempt, or at the end of the exchange.
func (u *Upload) Wait(s Stream, w wire.Stopper) (sent, stopped bool) {
	if !u.Started {
		return true, false
	}
	u.mu.Lock()
	finished := u.finished
	u.mu.Unlock()
	if !finished {
		s.StopBody()
		w.Stop()
	}
	<-u.done
	if !finished {
		s.ResumeBody()
	}
	u.Started = false
	switch u.result {
	case reason.None, reason.BackendReset, reason.ResponseTimeout:
	case reason.RequestTimeout:
		if finished { // otherwise Wait has ended the wait
			s.Replay.Lose()
		}
	default: // the client's part has failed, or we have
		s.Replay.Lose()
	}
	return u.result == reason.None, !finished
}
