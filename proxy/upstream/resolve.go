package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"
)

const (
	firstWait  = time.Second      // for the first look-ups of new names, before their pool is used
	lookupTime = 15 * time.Second // for any later one: enough to ask another name server after 5 s
	maxLookups = 32               // of a pool at once; of one service, the hosts at once
	retryPause = time.Second      // after the first failure; it doubles up to the pool's resolve
	askedPause = time.Second      // the least between two look-ups that failed connects ask for
)

// names looks up the names of one pool's backends, again and again, and keeps the last answer of
// each. It is safe for concurrent use.
type names struct {
	log      zerolog.Logger
	resolver *net.Resolver
	changed  func()              // is called after an answer that differs from the last
	slots    *semaphore.Weighted // bounds the concurrent look-ups
	every    atomic.Int64        // the pool's resolve, in nanoseconds

	mu      sync.Mutex
	ctx     context.Context // of run; nil before it and after
	asked   map[question]*lookup
	running sync.WaitGroup
}

// lookup is one name that is looked up.
type lookup struct {
	question
	answer atomic.Pointer[answer]
	again  chan struct{} // asks for a look-up before the next is due
	stop   context.CancelFunc

	// The fields below belong to the goroutine, once there is one.
	failures int       // in a row
	asked    time.Time // when again was heeded last
}

// answer is what is known of a name. It is immutable.
type answer struct {
	targets []target // of the latest look-up that succeeded
	err     error    // of the latest look-up
}

func newNames(r *net.Resolver, log zerolog.Logger, changed func()) *names {
	return &names{log: log, resolver: r, changed: changed, slots: semaphore.NewWeighted(maxLookups)}
}

// set has these names be looked up, each every so often. It returns once each of them that is new
// has an answer, or after firstWait.
func (n *names) set(wanted []question, every time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	faster := n.every.Swap(int64(every)) > int64(every)
	before := n.asked
	n.asked = make(map[question]*lookup, len(wanted))
	var added []*lookup
	for _, q := range wanted {
		l := before[q]
		switch {
		case n.asked[q] != nil:
			continue
		case l == nil:
			l = &lookup{question: q, again: make(chan struct{}, 1)}
			l.answer.Store(&answer{})
			added = append(added, l)
		case faster:
			l.ask()
		}
		n.asked[q] = l
		delete(before, q)
	}
	for _, l := range before {
		if l.stop != nil {
			l.stop()
		}
	}
	n.lookUpFirst(added)
	for _, l := range added {
		n.start(l)
	}
}

// lookUpFirst looks up names that are new.
func (n *names) lookUpFirst(added []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), firstWait)
	defer cancel()
	var asking sync.WaitGroup
	for _, l := range added {
		asking.Go(func() { n.lookUp(ctx, l) })
	}
	asking.Wait()
}

// run looks the names up until ctx ends, and returns once no look-up is running. It is called once.
func (n *names) run(ctx context.Context) {
	n.mu.Lock()
	n.ctx = ctx
	for _, l := range n.asked {
		n.start(l)
	}
	n.mu.Unlock()
	<-ctx.Done()
	n.mu.Lock()
	n.ctx = nil // nothing starts any more
	n.mu.Unlock()
	n.running.Wait()
}

// start begins to look a name up again and again, while run does.
func (n *names) start(l *lookup) {
	if n.ctx == nil || n.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(n.ctx)
	l.stop = stop
	n.running.Go(func() {
		for l.await(ctx, time.Duration(n.every.Load())) {
			if n.lookUp(ctx, l) {
				n.changed()
			}
		}
	})
}

// lookUp looks a name up, and reports whether it leads to other addresses than before. A look-up
// that fails changes nothing.
func (n *names) lookUp(ctx context.Context, l *lookup) (changed bool) {
	found, err := n.find(ctx, l.question)
	if errors.Is(ctx.Err(), context.Canceled) {
		return false // it was interrupted, and says nothing about the name
	}
	last := l.answer.Load()
	now := &answer{targets: keep(last.targets, found), err: err}
	l.answer.Store(now)
	if l.failures++; err == nil {
		l.failures = 0
	}
	n.note(l, last, now)
	return !reflect.DeepEqual(last.targets, now.targets)
}

// find asks the resolver.
func (n *names) find(ctx context.Context, q question) ([]target, error) {
	if err := n.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer n.slots.Release(1)
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	return q.ask(ctx, n.resolver)
}

// note logs what a look-up has changed.
func (n *names) note(l *lookup, last, now *answer) {
	before, after := addresses(last.targets), addresses(now.targets)
	without := func(all, others []netip.AddrPort) (left []string) {
		for _, a := range all {
			if !slices.Contains(others, a) {
				left = append(left, inWords(a))
			}
		}
		return left
	}
	switch added, removed := without(after, before), without(before, after); {
	case len(added)+len(removed) > 0:
		n.log.Info().Str("name", l.name).Strs("added", added).Strs("removed", removed).Msg("a name leads to other addresses")
	case last.err != nil && now.err == nil:
		n.log.Info().Str("name", l.name).Msg("look-ups of a name succeed again")
	}
	if now.err != nil && (last.err == nil || l.failures == 1) {
		n.log.Warn().Str("name", l.name).Err(now.err).Int("addresses", len(after)).
			Msg("a look-up of a name has failed: what was found last is kept, and it is tried again")
	}
}

// inWords returns an address with its port, if it has one of its own.
func inWords(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// found returns what is known of a name.
func (n *names) found(q question) (targets []target, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.asked[q]
	if l == nil {
		return nil, nil
	}
	a := l.answer.Load()
	return a.targets, a.err
}

// asks returns the channel that asks for a look-up at once, or nil.
func (n *names) asks(q question) chan<- struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.asked[q]; l != nil {
		return l.again
	}
	return nil
}

// ask asks for a look-up before the next is due.
func (l *lookup) ask() {
	select {
	case l.again <- struct{}{}:
	default: // that was asked already
	}
}

// await waits until the next look-up is due, and returns false once ctx ends.
func (l *lookup) await(ctx context.Context, every time.Duration) bool {
	due := time.NewTimer(jittered(pause(every, l.failures)))
	defer due.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-due.C:
		return true
	case <-l.again:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(l.asked.Add(min(every, askedPause)))):
		l.asked = time.Now()
		return true
	}
}

// pause returns the time from a look-up to the next, after so many failures in a row.
func pause(every time.Duration, failures int) time.Duration {
	if failures == 0 || failures > 16 {
		return every
	}
	return min(every, retryPause<<(failures-1))
}

// jittered returns a time that is up to 10 % shorter or longer, so that many names, and many
// instances, are not looked up in step.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
