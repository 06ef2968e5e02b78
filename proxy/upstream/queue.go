package upstream

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// queue holds the requests of a pool for which no backend has room: clients get their turns one
// after the other, and each client's requests in their order. It is safe for concurrent use. A
// caller that ends a request only looks at waiting, unless a request waits.
type queue struct {
	waiting atomic.Int64 // requests in the queue; changed while holding mu

	mu     sync.Mutex
	turns  list.List // of *line, the next first
	lines  map[uint64]*line
	moved  bool          // a request got its turn since the last probe
	pause  time.Duration // until the next probe
	probes bool          // a probe is due
}

// line holds the requests of one client.
type line struct {
	client  uint64
	place   *list.Element // in turns
	waiters list.List     // of *Waiter, the next first
}

// Waiter is the place of a request in a queue. NewWaiter makes one.
type Waiter struct {
	// Turn gets a value when it is the request's turn, or Stop is called.
	Turn chan struct{}

	full  bool          // it waits because the backends are full, and not because they are out
	line  *line         // that it stands in
	place *list.Element // in line; nil: it has had its turn. Guarded by the queue's mu
}

// NewWaiter returns a place for a request. full reports whether it waits because the backends are
// full: one that becomes free then makes room for one request.
func NewWaiter(full bool) *Waiter { return &Waiter{Turn: make(chan struct{}, 1), full: full} }

// Stop wakes the request before its turn.
func (w *Waiter) Stop() {
	select {
	case w.Turn <- struct{}{}:
	default:
	}
}

// The time between two probes. Nothing tells of a backend that is reachable again but a request
// that is sent there.
const (
	firstProbe = 25 * time.Millisecond
	lastProbe  = 250 * time.Millisecond
)

// enter puts a request into the queue, and reports whether there was room. Again is for a request
// that has had its turn in vain: it goes back to the front, whether there is room or not.
func (q *queue) enter(w *Waiter, client uint64, again bool, size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !again && int(q.waiting.Load()) >= size {
		return false
	}
	l := q.lines[client]
	if l == nil {
		if q.lines == nil {
			q.lines = make(map[uint64]*line)
		}
		l = &line{client: client}
		q.lines[client], l.place = l, q.turns.PushBack(l)
	}
	if w.line = l; again {
		w.place = l.waiters.PushFront(w)
		q.turns.MoveToFront(l.place)
	} else {
		w.place = l.waiters.PushBack(w)
	}
	q.waiting.Add(1)
	if !q.probes {
		q.probes, q.pause = true, firstProbe
		time.AfterFunc(q.pause, q.probe)
	}
	return true
}

// leave takes a request out of the queue, and reports whether it was still there. If not, it has
// had its turn.
func (q *queue) leave(w *Waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place == nil {
		return false
	}
	q.remove(w)
	return true
}

// remove takes out a request that is in the queue.
func (q *queue) remove(w *Waiter) {
	w.line.waiters.Remove(w.place)
	w.place = nil
	q.waiting.Add(-1)
	if w.line.waiters.Len() == 0 {
		q.turns.Remove(w.line.place)
		delete(q.lines, w.line.client)
	}
}

// advance gives their turns to the next requests, up to n. A request that waits for room is the
// last of them, because there is room for one.
func (q *queue) advance(n int) {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for ; n > 0 && q.turns.Len() > 0; n-- {
		l := q.turns.Front().Value.(*line)
		q.turns.MoveToBack(l.place)
		w := l.waiters.Front().Value.(*Waiter)
		q.remove(w)
		w.Stop()
		if q.moved = true; w.full {
			return
		}
	}
}

// probe gives one request its turn if none had one lately, and is due again as long as requests
// wait.
func (q *queue) probe() {
	q.mu.Lock()
	moved := q.moved
	q.moved = false
	q.mu.Unlock()
	if !moved {
		q.advance(1)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.probes = q.waiting.Load() > 0; !q.probes {
		return
	}
	if q.moved = false; moved {
		q.pause = firstProbe
	} else {
		q.pause = min(2*q.pause, lastProbe)
	}
	time.AfterFunc(q.pause, q.probe)
}

// Queue returns how long requests may wait for a backend, and how many.
func (p *Pool) Queue() QueueConfig { return p.config.Load().Queue }

// HasQueue reports whether requests wait for a backend. One that has not waited would overtake
// them.
func (p *Pool) HasQueue() bool { return p.queue.waiting.Load() > 0 }

// Enter puts a request of the client into the queue, and reports whether there was room. A request
// that has had its turn in vain enters again, and keeps its place.
func (p *Pool) Enter(w *Waiter, client uint64, again bool) bool {
	return p.queue.enter(w, client, again, p.Queue().Size)
}

// Leave takes a request out of the queue before its turn. If it has had its turn, it reports false,
// and the caller, if it does not use that, calls Freed.
func (p *Pool) Leave(w *Waiter) bool { return p.queue.leave(w) }

// Freed tells the queue that a request has ended at a backend, or does not use its turn, so that
// another may be sent. Where the backend has answered and requests wait because none did, it is the
// turn of two, so that all get theirs soon, but not at once.
func (p *Pool) Freed(answered bool) {
	if answered {
		p.queue.advance(2)
	} else {
		p.queue.advance(1)
	}
}

// PassOn gives another request its turn where one that has waited has got its connection, and there
// is room for more: a reload, or a backend that is back, makes room for many at once. Where nothing
// bounds the backend, Freed decides how many go on.
func (p *Pool) PassOn(b *Backend) {
	if p.HasQueue() && b.isBounded() && p.HasRoom(&Tried{}) {
		p.queue.advance(1)
	}
}
