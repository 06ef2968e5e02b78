package main

import (
	"sync"
	"time"
)

// kong follows the published rules of Kong's library of sliding windows: a request is decided by its
// node's own counters, which each node adds to the store's and fetches from it at each sync_rate. A
// window counts in full, the one before by the part of it that a window's length back from now still
// covers. As with disable_penalty, rejected requests do not count.
type kong struct {
	ended   chan struct{}
	running sync.WaitGroup
	limits  []limit
	begin   time.Time

	mu    sync.Mutex
	store map[window]int64
	nodes [instances]map[window]*counter
}

// window is the number-th of a client.
type window struct {
	client int
	number int64
}

// counter is a node's: what the store had at the last sync, and what the node has counted since.
type counter struct{ synced, since int64 }

// kongWith has the nodes sync in turn, a third of the sync rate apart.
func kongWith(syncRate time.Duration) func(string, []limit) (fleet, error) {
	return func(_ string, limits []limit) (fleet, error) {
		k := &kong{ended: make(chan struct{}), limits: limits, begin: time.Now(), store: map[window]int64{}}
		for i := range k.nodes {
			k.nodes[i] = map[window]*counter{}
			k.running.Go(func() {
				every(syncRate, time.Duration(i+1)*syncRate/instances, k.ended, func() { k.sync(i) })
			})
		}
		return k, nil
	}
}

// take has a client's first window begin half of its length before the fleet does.
func (k *kong) take(instance, client int) (bool, error) {
	l := k.limits[client]
	passed := time.Since(k.begin) + l.period/2
	number := int64(passed / l.period)
	weight := 1 - float64(passed%l.period)/float64(l.period)

	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.counter(instance, window{client, number})
	before := k.counter(instance, window{client, number - 1})
	rate := float64(now.synced+now.since+1) + float64(before.synced+before.since)*weight
	if rate > float64(l.tokens) {
		return false, nil
	}
	now.since++
	return true, nil
}

func (k *kong) counter(instance int, w window) *counter {
	c := k.nodes[instance][w]
	if c == nil {
		c = new(counter)
		k.nodes[instance][w] = c
	}
	return c
}

func (k *kong) sync(instance int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for w, c := range k.nodes[instance] {
		k.store[w] += c.since
		*c = counter{synced: k.store[w]}
	}
}

func (k *kong) close() error {
	close(k.ended)
	k.running.Wait()
	return nil
}

// every calls a function first after a time and then each period, until ended is closed.
func every(period, first time.Duration, ended <-chan struct{}, call func()) {
	for timer := time.NewTimer(first); ; {
		select {
		case <-timer.C:
			timer.Reset(period)
			call()
		case <-ended:
			timer.Stop()
			return
		}
	}
}
