package main

import (
	"sync"
	"time"
)

// globalSyncWait is Gubernator's default.
const globalSyncWait = 100 * time.Millisecond

// gubernator follows what Gubernator does with LEAKY_BUCKET and GLOBAL. One instance owns all clients.
// The others decide by buckets of their own and send the hits, also the rejected ones, to the owner.
// Hits that exceed what the owner's bucket has drain it. The owner sends what its bucket has left, in
// whole tokens, and the others put it in the place of their own. Each sends once it has waited since
// its first hit after it sent last.
type gubernator struct {
	ended   chan struct{}
	running sync.WaitGroup
	limits  []limit

	mu    sync.Mutex
	nodes [instances]node
}

// node is an instance's.
type node struct {
	buckets []leaky // by client
	hit     chan struct{}
	waits   bool // to send
}

// leaky is a bucket on one node.
type leaky struct {
	used      bool
	remaining float64
	updated   time.Time
	unsent    int64     // hits
	first     time.Time // of these
}

const owner = 0

// openGubernator has messages take no time.
func openGubernator(_ string, limits []limit) (fleet, error) {
	g := &gubernator{ended: make(chan struct{}), limits: limits}
	for i := range g.nodes {
		g.nodes[i] = node{buckets: make([]leaky, len(limits)), hit: make(chan struct{}, 1)}
		g.running.Go(func() { g.send(i) })
	}
	return g, nil
}

func (g *gubernator) take(instance, client int) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, now := &g.nodes[instance].buckets[client], time.Now()
	b.refill(g.limits[client], now)
	g.count(instance, client, 1, now)
	if b.remaining < 1 {
		return false, nil
	}
	b.remaining--
	return true, nil
}

// count has hits on a node sent.
func (g *gubernator) count(instance, client int, hits int64, came time.Time) {
	n := &g.nodes[instance]
	b := &n.buckets[client]
	if b.unsent == 0 {
		b.first = came
	}
	b.unsent += hits
	if !n.waits {
		n.waits = true
		n.hit <- struct{}{}
	}
}

func (b *leaky) refill(l limit, now time.Time) {
	if !b.used {
		b.used, b.remaining, b.updated = true, float64(l.tokens), now
	}
	if now.After(b.updated) {
		b.remaining = min(float64(l.tokens), b.remaining+now.Sub(b.updated).Seconds()*l.perSecond())
		b.updated = now
	}
}

func (g *gubernator) send(instance int) {
	for {
		select {
		case <-g.nodes[instance].hit:
		case <-g.ended:
			return
		}
		time.Sleep(globalSyncWait)
		g.mu.Lock()
		n := &g.nodes[instance]
		n.waits = false
		for client := range n.buckets {
			if b := &n.buckets[client]; b.unsent > 0 {
				if instance == owner {
					g.update(client)
				} else {
					g.forward(client, b.unsent, b.first)
				}
				b.unsent = 0
			}
		}
		g.mu.Unlock()
	}
}

// forward brings hits to the owner, which takes them as of the time of the first.
func (g *gubernator) forward(client int, hits int64, first time.Time) {
	b := &g.nodes[owner].buckets[client]
	b.refill(g.limits[client], first)
	b.remaining = max(0, b.remaining-float64(hits))
	g.count(owner, client, hits, first)
}

// update tells the others what the owner's bucket had left at its last hit.
func (g *gubernator) update(client int) {
	left := float64(int64(g.nodes[owner].buckets[client].remaining))
	for i := range g.nodes {
		if i != owner {
			b := &g.nodes[i].buckets[client]
			b.used, b.remaining, b.updated = true, left, time.Now()
		}
	}
}

func (g *gubernator) close() error {
	close(g.ended)
	g.running.Wait()
	return nil
}
