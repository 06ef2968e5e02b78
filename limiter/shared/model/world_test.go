package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/central"
)

// world is a run of a scenario.
type world struct {
	scenario scenario
	began    time.Time
	ended    chan struct{}
	running  sync.WaitGroup // all goroutines of the run
	subjects []*subject

	mu        sync.Mutex // guards the fields below
	random    *rand.Rand
	central   *central.Central
	frozen    time.Time   // until when the central state takes nothing
	instances []*instance // that live
	all       []*instance
	forgotten []forgetting // what crashes have forgotten at most
	losses    []time.Duration
	resets    []announcement
	tellings  int64
}

// forgetting is when an instance crashed, and how many instances it knew of.
type forgetting struct {
	at        time.Duration
	instances int64
}

// announcement is what the central state says of a reset to those that do not ask.
type announcement struct {
	at     time.Duration // of its clock
	client string
}

// offset is how far the clock of the central state is from that of the instances.
const offset = 1234567 * time.Second

// run runs a scenario. It must be called in a bubble of synctest, and returns when all is over.
func run(s scenario) *world {
	w := &world{
		scenario: s, began: time.Now(), ended: make(chan struct{}),
		random: rand.New(rand.NewPCG(s.Seed, 0)), central: &central.Central{},
	}
	for i, c := range s.Clients {
		w.subjects = append(w.subjects, newSubject(w, i, c))
	}
	for range s.Instances {
		w.start()
	}
	time.Sleep(beforeTraffic) // until all have heard of the central state
	for _, s := range w.subjects {
		w.running.Go(s.ask)
	}
	for _, e := range s.Events {
		w.sleepUntil(e.At)
		w.happen(e)
	}
	w.sleepUntil(s.Length + time.Second/10) // what has come by then is decided
	close(w.ended)
	w.running.Wait()
	return w
}

// beforeTraffic is how long instances are there before the first request.
const beforeTraffic = 900 * time.Millisecond

// now is the time since the run began.
func (w *world) now() time.Duration { return time.Since(w.began) }

func (w *world) sleepUntil(at time.Duration) { time.Sleep(at - w.now()) }

// start starts an instance. Requests come to it at once.
func (w *world) start() {
	i := newInstance(w, fmt.Sprint("instance ", len(w.all)))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, i)
	w.instances = append(slices.Clone(w.instances), i)
	w.running.Go(i.run)
}

// pick returns the instance that comes next, and nil if there is none.
func (w *world) pick(index int) *instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.instances) == 0 {
		return nil
	}
	return w.instances[index%len(w.instances)]
}

func (w *world) happen(e event) {
	i := w.pick(e.Instance)
	switch e.What {
	case start:
		w.start()
	case crash:
		if i != nil {
			w.crash(i)
		}
	case stop:
		if i != nil {
			w.stop(i)
		}
	case cut:
		if i != nil {
			i.cutUntil.Store(int64(w.now() + e.For))
		}
	case freeze:
		w.mu.Lock()
		w.frozen = time.Now().Add(e.For)
		w.mu.Unlock()
	case wipe:
		w.mu.Lock()
		w.central.Lose()
		w.losses = append(w.losses, w.now())
		w.mu.Unlock()
	case failover:
		w.mu.Lock()
		replica := w.central.Clone()
		w.mu.Unlock()
		time.Sleep(e.For)
		w.mu.Lock()
		w.central = replica
		w.losses = append(w.losses, w.now())
		w.mu.Unlock()
	case change:
		w.subjects[e.Client].change(e.Limit)
	case reset:
		if s := w.subjects[e.Client]; i != nil && s.Kind != unregistered {
			i.limiter.Reset(s.id)
		}
	}
}

// crash ends an instance without a word.
func (w *world) crash(i *instance) {
	w.withdraw(i)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(i.gone)
	w.forgotten = append(w.forgotten, forgetting{w.now(), i.others.Load()})
}

// withdraw sends no more requests to the instance.
func (w *world) withdraw(i *instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instances = slices.DeleteFunc(slices.Clone(w.instances), func(other *instance) bool { return other == i })
}

// stop ends an instance as a signal does. What it has to tell may be lost on the way.
func (w *world) stop(i *instance) {
	w.withdraw(i)
	w.running.Go(func() {
		time.Sleep(2 * w.scenario.Wait) // until its requests are decided
		i.share.Flush()
		i.tell()
		i.exchange(func() { w.take(func(c *central.Central, _ time.Duration) { c.Part(i.id) }) }, func(bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			close(i.gone)
			if w.scenario.isUnreliable() {
				w.forgotten = append(w.forgotten, forgetting{w.now(), i.others.Load()})
			}
		})
	})
}

// take has the central state take what tells it something.
func (w *world) take(tell func(c *central.Central, now time.Duration)) {
	w.mu.Lock()
	for until := w.frozen; time.Now().Before(until); until = w.frozen {
		w.mu.Unlock()
		time.Sleep(time.Until(until))
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	tell(w.central, offset+w.now())
}

// delay returns how long a message is under way, and whether it arrives.
func (w *world) delay(lost float64) (d time.Duration, arrives bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := &w.scenario.Network
	d = n.Least + min(time.Duration(w.random.ExpFloat64()*float64(n.Jitter)), 4*n.Jitter)
	return d, w.random.Float64() >= lost
}

// tell has the central state take a telling of the instance, and remembers what it took.
func (w *world) tell(told *limiter.Telling) (a limiter.Answer, at time.Duration) {
	w.take(func(c *central.Central, now time.Duration) {
		_, known := c.Bucket(now, told.Client)
		a, at = c.Tell(now, told), now-offset
		if w.scenario.Generous {
			a.Granted = told.Asked
		}
		w.tellings++
		if told.Reset {
			w.resets = append(w.resets, announcement{now, told.Client})
		}
		w.of(told).charge(at, told, a, known)
	})
	return a, at
}
