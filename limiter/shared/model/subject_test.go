package model

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"loadbalancer/limiter"
)

// subject is a client of a run, and what became of its requests.
type subject struct {
	client
	world *world
	index int
	id    limiter.ID
	name  string // by which tellings name it

	mu       sync.Mutex // guards the fields below
	phases   []phase
	arrivals []time.Duration
	admitted []admission
	rejected int
	parts    map[*instance]*part
	debt     debt
	charges  []charge
	resets   []time.Duration
	tellings int64
	faults   []string
	longest  time.Duration // that a request waited
}

// phase is a time with one limit.
type phase struct {
	from  time.Duration
	limit limiter.Limit
}

// admission is a request that was let through.
type admission struct {
	at     time.Duration
	how    how
	waited time.Duration
}

// how is by which rule a request was let through.
type how uint8

const (
	together how = iota // by credit, or the central state granted it
	alone               // the central state was away, or did not answer in time
	unclear             // it went away, or came back, at that very moment
)

// part is what one instance has let through of the client.
type part struct {
	untold  int64   // not by what the central state granted, and not settled
	grants  []grant // that its requests have yet to take
	alone   int64   // tokens that it took without the central state
	settled int64   // alone, when all of these had been told; its view has assumptions in it while they differ
	fewest  int64   // instances that it knew of while it let through requests alone; 0: it has not
}

// grant is what an answer grants: it is taken from the central state before the request goes on.
type grant struct {
	charged, settled time.Duration
	tokens           int64
}

// charge is what a telling has taken from the central state.
type charge struct {
	at      time.Duration
	granted int64
}

// debt is a bucket that all instances share, which takes everything that the central state was told,
// and loses nothing. It is counted in tokens.
type debt struct {
	at     time.Duration
	tokens float64
}

func (d *debt) until(now time.Duration, rate float64) float64 {
	d.tokens = max(0, d.tokens-rate*(now-d.at).Seconds())
	d.at = max(d.at, now)
	return d.tokens
}

func newSubject(w *world, index int, c client) *subject {
	s := &subject{client: c, world: w, index: index, parts: map[*instance]*part{}, phases: []phase{{0, c.Limit}}}
	switch c.Kind {
	case address:
		s.id.Prefix = netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/32", index+1))
	case keyed:
		s.id.Name = fmt.Sprint("customer-", index)
	case ranged, each:
		s.id.Prefix = netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", index))
	case unregistered:
		s.name = fmt.Sprint("default:", s.address(0))
		return s
	}
	s.name = fmt.Sprint("client:", s.id)
	if c.Kind == each {
		s.name += fmt.Sprint(":", s.address(0))
	}
	return s
}

// address returns the address of a request.
func (s *subject) address(request int) netip.Addr {
	switch s.Kind {
	case address:
		return s.id.Prefix.Addr()
	case ranged:
		return netip.AddrFrom4([4]byte{10, byte(s.index), byte(request), 1})
	case each:
		return netip.AddrFrom4([4]byte{10, byte(s.index), 3, 3})
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(s.index)})
}

// key returns the API key of a request.
func (s *subject) key() []byte {
	if s.Kind == keyed {
		return []byte("key of " + s.id.Name)
	}
	return nil
}

func (s *subject) registration(l limiter.Limit) limiter.Registration {
	r := limiter.Registration{ID: s.id, Terms: limiter.Terms{Limit: l, Each: s.Kind == each}}
	if s.Kind == keyed {
		r.Keys[0] = limiter.DigestKey(s.key())
	}
	return r
}

// now is the limit of the client.
func (s *subject) now() limiter.Limit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phases[len(s.phases)-1].limit
}

// changeWithin is the time within which a change has come to all instances.
const changeWithin = 50 * time.Millisecond

// change gives the client another limit, of which each instance hears at another time.
func (s *subject) change(l limiter.Limit) {
	s.mu.Lock()
	s.phases = append(s.phases, phase{s.world.now(), l})
	s.mu.Unlock()
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.instances {
		d := time.Duration(w.random.Int64N(int64(changeWithin)))
		w.running.Go(func() {
			time.Sleep(d)
			if s.Kind == unregistered {
				i.limiter.SetDefault(limiter.Default{Limit: s.now()})
			} else {
				i.limiter.Set(s.registration(s.now()))
			}
		})
	}
}

// ask sends the requests of the client.
func (s *subject) ask() {
	w := s.world
	random := rand.New(rand.NewPCG(w.scenario.Seed, uint64(s.index)+1))
	home, moved, n := random.IntN(100), w.now(), 0
	send := func(to int) {
		n++
		request := n
		if i := w.pick(to); i != nil {
			w.running.Go(func() { s.request(i, request) })
		}
	}
	for {
		rate := s.Load * s.now().RatePerSecond / float64(s.Burst)
		time.Sleep(time.Duration(min(random.ExpFloat64()/rate, 60) * float64(time.Second)))
		if w.now() >= w.scenario.Length {
			return
		}
		if s.Route == wandering && w.now()-moved > time.Second/2 {
			home, moved = random.IntN(100), w.now()
		}
		for range s.Burst {
			if s.Route == spread || s.Route == lopsided && random.IntN(10) == 0 {
				send(random.IntN(1 << 20))
			} else {
				send(home)
			}
		}
		if s.Route == ambush {
			time.Sleep(ambushAfter)
			for to := range s.Burst {
				send(to)
			}
		}
	}
}

// ambushAfter is how long the central state has to take a burst in.
const ambushAfter = 4 * time.Millisecond

// request asks an instance, and checks and records what it decides.
func (s *subject) request(i *instance, n int) {
	before, known, began := i.share.IsAway(), i.share.Instances(), time.Now()
	var d limiter.Decision
	i.limiter.Admit(i.limiter.Identify(s.address(n), s.key()), began, &d).Release()
	waited, now := time.Since(began), s.world.now()
	if i.isGone() {
		return // the client has heard nothing
	}
	how := together
	switch after := i.share.IsAway(); {
	case before != after:
		how = unclear
	case after:
		how = alone
	}

	s.mu.Lock()
	s.arrivals = append(s.arrivals, now-waited)
	s.longest = max(s.longest, waited)
	p := s.part(i)
	charged, granted := p.grant(now)
	switch {
	case waited > 0 && granted && d.Allowed:
		p.grants[0].tokens--
		s.admitted = append(s.admitted, admission{charged, together, waited})
	case d.Allowed:
		if waited > 0 && how == together {
			how = alone // no answer came
		}
		p.untold++
		if how != together {
			p.alone++
			p.know(known)
			p.know(i.share.Instances())
		}
		s.admitted = append(s.admitted, admission{now, how, waited})
	default:
		s.rejected++
	}
	byView := !d.Allowed && waited == 0 && how == together && p.alone == p.settled
	s.mu.Unlock()
	if byView {
		time.Sleep(time.Nanosecond) // until all that happens at this moment is counted
		s.checkRejection(i)
	}
}

func (s *subject) part(i *instance) *part {
	p := s.parts[i]
	if p == nil {
		p = &part{}
		s.parts[i] = p
	}
	return p
}

// know records how many instances were known.
func (p *part) know(instances int64) {
	if p.fewest == 0 || instances < p.fewest {
		p.fewest = instances
	}
}

// grant returns when the central state has granted what a request that has just waited takes.
func (p *part) grant(now time.Duration) (charged time.Duration, ok bool) {
	for len(p.grants) > 0 && (p.grants[0].settled != now || p.grants[0].tokens == 0) {
		p.grants = p.grants[1:]
	}
	if len(p.grants) == 0 {
		return 0, false
	}
	return p.grants[0].charged, true
}

// charge records what a telling has taken. known: the central state knew the bucket.
func (s *subject) charge(at time.Duration, told *limiter.Telling, a limiter.Answer, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.debt.until(at, told.Rate)
	if !known || told.Restore {
		s.debt.tokens = max(s.debt.tokens, told.Debt.Seconds()*told.Rate)
	}
	if told.Reset {
		s.debt.tokens = 0
		s.resets = append(s.resets, at)
	}
	s.debt.tokens += float64(told.Spent + a.Granted)
	s.charges = append(s.charges, charge{at, a.Granted})
	s.tellings++
	if a.Granted < told.Asked && s.isLeftAlone() && s.debt.tokens+1 < float64(told.Capacity)-rounding(told.Rate) {
		s.faults = append(s.faults, fmt.Sprintf("at %v the central state refuses a token while only %.3f of %d are owed", at, s.debt.tokens, told.Capacity))
	}
}

// of returns the client that a telling is of.
func (w *world) of(told *limiter.Telling) *subject {
	at := slices.IndexFunc(w.subjects, func(s *subject) bool { return s.name == told.Client })
	return w.subjects[at]
}

// aloneAt returns how many tokens of the client the instance has taken without the central state.
func (s *subject) aloneAt(i *instance) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.part(i).alone
}

// settles records that an answer has come to a telling, from when the instance had taken so many tokens
// without the central state.
func (s *subject) settles(i *instance, told *limiter.Telling, a limiter.Answer, charged time.Duration, alone int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part(i)
	p.untold -= told.Spent
	if alone == p.alone {
		p.settled = alone
	}
	p.grants = append(p.grants, grant{charged, s.world.now(), a.Granted})
}

// isLeftAlone reports whether nothing is changed of a client. Else the central state, or an instance, may
// not have heard of the change.
func (s *subject) isLeftAlone() bool { return !s.world.scenario.has(change, reset) }

// rounding is how many tokens the arithmetic may be off: the central clock has microseconds.
func rounding(rate float64) float64 { return 1e-6 + 3e-6*rate }

// checkRejection checks that a request which the instance has just rejected by its view was one too
// many: all that the central state was told and the instance has yet to tell leaves no token.
func (s *subject) checkRejection(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isLeftAlone() {
		return
	}
	now, limit := s.world.now(), s.phases[0].limit
	owed := s.debt.until(now, limit.RatePerSecond) + float64(max(0, s.part(i).untold))
	if most := float64(limit.Capacity) - 1; owed <= most-rounding(limit.RatePerSecond) {
		s.faults = append(s.faults, fmt.Sprintf("at %v %s rejects a request while only %.3f of %d are owed", now, i.id, owed, limit.Capacity))
	}
}
