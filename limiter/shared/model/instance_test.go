package model

import (
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/central"
	"loadbalancer/limiter/shared/member"
)

// instance is a limiter with what tells its central state, as package shared does.
type instance struct {
	world    *world
	id       string
	limiter  *limiter.Limiter
	share    *limiter.Share
	gone     chan struct{}
	cutUntil atomic.Int64  // the time since the run began until which nothing passes
	others   atomic.Int64  // instances that it knows of, itself included
	beats    chan struct{} // those that have been answered, or not

	hearing sync.Mutex // guards the fields below
	lease   member.Lease
	silent  int // beats in a row without a reply in time

	sending     sync.Mutex
	lastArrival time.Duration // of a message; guarded by sending

	looked   sync.Mutex // guards the fields below
	lastLook time.Duration
	wasAway  bool
	absences []absence
}

// absence is a time in which the central state may have been away for an instance.
type absence struct {
	from, to  time.Duration
	instances float64 // that the instance knows of
}

// look records whether the central state is away for the instance.
func (i *instance) look() {
	i.looked.Lock()
	defer i.looked.Unlock()
	now, away := i.world.now(), i.share.IsAway()
	if away || i.wasAway {
		i.absences = append(i.absences, absence{i.lastLook, now, float64(i.others.Load())})
	}
	i.lastLook, i.wasAway = now, away
}

// As in package shared.
const (
	beatEvery = member.Every
	beatAgain = 100 * time.Millisecond // after one that was not answered in time
	maxSilent = 3
	lookEvery = 50 * time.Millisecond
	dueWithin = time.Millisecond
)

func newInstance(w *world, id string) *instance {
	cfg := limiter.DefaultConfig()
	cfg.MaxTracked = 100
	for _, s := range w.subjects {
		if s.Kind == unregistered {
			cfg.Default.Limit = s.now()
		}
	}
	i := &instance{world: w, id: id, lastLook: w.now(), limiter: limiter.New(cfg), gone: make(chan struct{}), beats: make(chan struct{}, 1)}
	i.others.Store(1)
	i.share = i.limiter.Share(w.scenario.Wait)
	for _, s := range w.subjects {
		if s.Kind != unregistered {
			i.limiter.Set(s.registration(s.now()))
		}
	}
	return i
}

// run tells the central state until the instance or the world ends.
func (i *instance) run() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var due, next <-chan time.Time
	i.beat(func() { i.beats <- struct{}{} })
	for {
		select {
		case <-i.gone:
			return
		case <-i.world.ended:
			return
		case <-next:
			i.beat(func() { i.beats <- struct{}{} })
			continue
		case <-i.beats:
			next = time.After(i.untilNext())
			continue
		case <-i.share.Due():
			if due == nil {
				due = time.After(dueWithin)
			}
			continue
		case <-i.share.Asks():
		case <-due:
		case <-look.C:
			i.look()
		}
		due = nil
		if !i.isConnected() {
			continue
		}
		i.tell()
	}
}

// tell sends what there is to tell.
func (i *instance) tell() {
	alone := map[*subject]int64{} // before Collect: a token that is taken meanwhile may not be told
	for _, s := range i.world.subjects {
		alone[s] = s.aloneAt(i)
	}
	if told := i.share.Collect(nil); len(told) > 0 {
		i.send(told, alone)
	}
}

// exchange sends a message to the central state, and calls then once a reply has come, or none in time.
func (i *instance) exchange(take func(), then func(ok bool)) {
	w, replied := i.world, make(chan struct{})
	there, arrives := w.delay(w.scenario.Network.LostRequests)
	if !w.scenario.Network.Reorders {
		there = i.behind(there)
	}
	back, replies := w.delay(w.scenario.Network.LostReplies)
	w.running.Go(func() {
		if !arrives || i.isCut() {
			return
		}
		time.Sleep(there)
		take()
		time.Sleep(back)
		if replies && !i.isCut() {
			close(replied)
		}
	})
	w.running.Go(func() {
		patience := time.NewTimer(w.scenario.Network.Patience)
		defer patience.Stop()
		select {
		case <-replied:
			then(true)
		case <-patience.C:
			then(false)
		}
	})
}

// behind returns when a message arrives that must not overtake others of the instance.
func (i *instance) behind(there time.Duration) time.Duration {
	i.sending.Lock()
	defer i.sending.Unlock()
	now := i.world.now()
	i.lastArrival = max(i.lastArrival+1, now+there)
	return i.lastArrival - now
}

func (i *instance) isCut() bool { return int64(i.world.now()) < i.cutUntil.Load() }

// isGone reports whether the instance has crashed.
func (i *instance) isGone() bool {
	select {
	case <-i.gone:
		return true
	default:
		return false
	}
}

// send tells the central state in one message.
func (i *instance) send(all []*limiter.Telling, alone map[*subject]int64) {
	type answer struct {
		limiter.Answer
		at time.Duration
	}
	answers := make([]answer, len(all))
	sent := time.Now()
	i.exchange(func() {
		for n, told := range all {
			answers[n].Answer, answers[n].at = i.world.tell(told)
		}
	}, func(ok bool) {
		if i.isGone() {
			return
		}
		for n, told := range all {
			if !ok {
				i.share.Fail(told)
				continue
			}
			s := i.world.of(told)
			s.settles(i, told, answers[n].Answer, answers[n].at, alone[s])
			i.share.Settle(told, sent, answers[n].Answer)
		}
	})
}

// beat tells the central state that the instance lives, and calls then when it has heard or will not.
func (i *instance) beat(then func()) {
	var h heartbeat
	sent, last := time.Now(), i.lastHeard()
	i.exchange(func() {
		i.world.take(func(c *central.Central, now time.Duration) {
			h.Beat = c.Beat(now, i.id)
			for _, reset := range i.world.resets {
				if reset.at >= last {
					h.resets = append(h.resets, reset.client)
				}
			}
		})
	}, func(ok bool) {
		if !i.isGone() {
			i.hear(sent, &h, ok)
		}
		then()
	})
}

// heartbeat is the reply to a beat.
type heartbeat struct {
	member.Beat
	resets []string // clients that were reset since the last beat
}

// lastHeard returns the moment of the last beat that was taken in time, by the central clock.
func (i *instance) lastHeard() time.Duration {
	i.hearing.Lock()
	defer i.hearing.Unlock()
	return i.lease.Last()
}

// isConnected reports whether a beat was taken in time.
func (i *instance) isConnected() bool {
	i.hearing.Lock()
	defer i.hearing.Unlock()
	return i.lease.Last() > 0
}

// hear takes the reply to a beat.
func (i *instance) hear(sent time.Time, b *heartbeat, ok bool) {
	i.hearing.Lock()
	defer i.hearing.Unlock()
	if !ok || time.Since(sent) > i.world.scenario.Wait {
		if i.silent++; i.silent >= maxSilent || i.lease.Last() == 0 {
			i.share.Leave()
		}
		return
	}
	i.silent = 0
	fleet, lost := i.lease.Renew(b.Beat, sent, time.Now())
	if lost {
		i.share.Restore()
	}
	i.look()
	i.others.Store(b.Instances)
	i.share.Return(fleet)
	i.share.Ask(b.resets)
}

// untilNext returns the time until the next beat.
func (i *instance) untilNext() time.Duration {
	i.hearing.Lock()
	defer i.hearing.Unlock()
	if i.silent > 0 && !i.share.IsAway() {
		return beatAgain
	}
	return beatEvery
}
