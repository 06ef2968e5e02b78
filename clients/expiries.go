package clients

import (
	"container/heap"
	"context"
	"time"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// expiries are the moments at which clients and keys expire. The lock of the enforcer guards them.
type expiries struct {
	queue expiryQueue
	next  map[limiter.ID]time.Time // of the entry of the client that comes first
	wake  chan struct{}            // the first entry has changed; holds one
}

// expiry is a moment at which the client has to be enforced again.
type expiry struct {
	at time.Time
	id limiter.ID
}

func newExpiries() expiries {
	return expiries{next: map[limiter.ID]time.Time{}, wake: make(chan struct{}, 1)}
}

// add remembers when the client, or the first of its keys, expires next after now.
func (x *expiries) add(c *store.Client, now time.Time) {
	if at := nextExpiry(c, now); !at.IsZero() {
		x.plan(c.ID, at)
	}
}

// plan has the client be due at a moment.
func (x *expiries) plan(id limiter.ID, at time.Time) {
	// A later moment is found when the client is enforced at the earlier one.
	if planned, known := x.next[id]; known && !at.Before(planned) {
		return
	}
	x.next[id] = at
	heap.Push(&x.queue, expiry{at, id})
	if x.queue[0].id == id {
		select {
		case x.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// spareExpiries is the number of entries of clients that are gone for which the queue is not tidied.
const spareExpiries = 1000

// remove forgets the client.
func (x *expiries) remove(id limiter.ID) {
	delete(x.next, id)
	if len(x.queue) <= 2*len(x.next)+spareExpiries {
		return
	}
	x.queue = x.queue[:0]
	for id, at := range x.next {
		x.queue = append(x.queue, expiry{at, id})
	}
	heap.Init(&x.queue)
}

// nextExpiry returns when the client, or the first of its keys, expires after now, or zero.
func nextExpiry(c *store.Client, now time.Time) (at time.Time) {
	sooner := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	sooner(c.ExpiresAt)
	for i := range c.Keys {
		sooner(c.Keys[i].ExpiresAt)
	}
	return at
}

// due removes and returns the clients whose moment has come, and returns how long the next has to
// wait, or an hour.
func (x *expiries) due(now time.Time) (ids []limiter.ID, wait time.Duration) {
	for len(x.queue) > 0 {
		first := x.queue[0]
		if wait := first.at.Sub(now); wait > 0 {
			return ids, min(wait, time.Hour) // the wall clock may be set meanwhile
		}
		heap.Pop(&x.queue)
		if x.next[first.id].Equal(first.at) {
			delete(x.next, first.id)
			ids = append(ids, first.id)
		}
	}
	return ids, time.Hour
}

// run enforces what expires, until ctx ends. It returns an error of the records, after which it can
// be called again.
func (e *enforcer) run(ctx context.Context, records store.Records) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.expiries.wake:
		case <-timer.C:
		}
		wait, err := e.expire(records, time.Now())
		if err != nil {
			return err
		}
		timer.Reset(wait)
	}
}

// expire enforces again what has expired, and returns when to call it next.
func (e *enforcer) expire(records store.Records, now time.Time) (wait time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids, wait := e.expiries.due(now)
	for i, id := range ids {
		c, err := records.Client(id)
		switch {
		case err == nil:
			e.enforce(&c, now)
		case !isNotFound(err):
			for _, left := range ids[i:] {
				e.expiries.plan(left, now)
			}
			return 0, err
		}
	}
	return wait, nil
}

// expiryQueue is a heap.Interface, the earliest first.
type expiryQueue []expiry

func (q expiryQueue) Len() int           { return len(q) }
func (q expiryQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q expiryQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *expiryQueue) Push(x any)        { *q = append(*q, x.(expiry)) }
func (q *expiryQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
