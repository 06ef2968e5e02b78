package limiter

import (
	"math/big"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle is the limiter as its documentation has it, in exact fractions: a bucket for each client,
// no table, no eviction, no shared memory.
type oracle struct {
	limit      Limit // of the unregistered
	slack      *big.Rat
	exact      bool
	anonymous  map[netip.Addr]*account
	registered map[netip.Prefix]*account
}

// account is a model with a limit that can change.
type account struct {
	*model
	limit  Limit
	owed   int64 // tokens that a smaller capacity has forgiven
	opened bool  // a bucket is full until somebody looks at it, at whatever time that is
}

func newAccount(l Limit) *account { return &account{model: newModel(l), limit: l} }

// uncapped returns the tokens that there would be now, did the bucket not overflow.
func (a *account) uncapped(now int64) *big.Rat {
	if !a.opened {
		a.last, a.opened = now, true
	}
	gained := new(big.Rat).Mul(a.rate, new(big.Rat).SetInt64(now-a.last))
	return gained.Add(gained, a.tokens)
}

func (a *account) refill(now int64) {
	a.uncapped(now)
	a.model.refill(now)
}

// find returns the account that pays for a request of the address, and has it refilled.
func (o *oracle) find(addr netip.Addr, now int64) *account {
	for bits := addr.BitLen(); bits >= 0; bits-- {
		if p, err := addr.Prefix(bits); err == nil && o.registered[p] != nil {
			o.registered[p].refill(now)
			return o.registered[p]
		}
	}
	return o.unregistered(addr, now)
}

func (o *oracle) unregistered(addr netip.Addr, now int64) *account {
	if o.anonymous[addr] == nil {
		o.anonymous[addr] = newAccount(o.limit)
	}
	o.anonymous[addr].refill(now)
	return o.anonymous[addr]
}

// debtors counts the unregistered clients that are not full, or not surely so.
func (o *oracle) debtors(now int64) (n int) {
	for _, a := range o.anonymous {
		if full := a.uncapped(now); full.Sub(full, o.slack).Cmp(a.capacity) < 0 {
			n++
		}
	}
	return n
}

// set changes the limit of a registered client, or registers it with a full bucket.
func (o *oracle) set(p netip.Prefix, l Limit, now int64) (sure bool) {
	old := o.registered[p]
	a := newAccount(l)
	o.registered[p] = a
	if old == nil {
		return true
	}
	spent, owed, sure := o.carry(old, a.limit, old.owed, now)
	a.tokens, a.owed = new(big.Rat).Sub(a.capacity, spent), owed
	a.last, a.opened = now, true
	return sure
}

// remove deletes a registered client, and charges an address with what it has spent.
func (o *oracle) remove(p netip.Prefix, now int64) (sure bool) {
	old := o.registered[p]
	delete(o.registered, p)
	if old == nil || !p.IsSingleIP() {
		return true
	}
	spent, _, sure := o.carry(old, o.limit, 0, now)
	a := o.unregistered(p.Addr(), now)
	if left := new(big.Rat).Sub(a.tokens, spent); left.Sign() >= 0 {
		a.tokens = left
	} else if a.tokens.Sign() > 0 {
		a.tokens = new(big.Rat)
	}
	return sure
}

// carry returns what a client has spent by a new limit, and owes. It is sure unless what the
// limiter rounds decides about a whole token.
func (o *oracle) carry(from *account, to Limit, owed, now int64) (spent *big.Rat, nowOwed int64, sure bool) {
	if !o.exact {
		o.slack.Add(o.slack, new(big.Rat).SetFloat64((from.limit.RatePerSecond+to.RatePerSecond)/4e9))
	}
	spent = new(big.Rat).Sub(from.capacity, from.uncapped(now))
	sure = true
	if spent.Sign() < 0 {
		gained := new(big.Rat).Neg(spent)
		sure = owed == 0 || o.sure(gained)
		owed = max(0, owed-floor(gained))
		spent.SetInt64(0)
	}
	forgiven := max(0, -floor(new(big.Rat).Neg(spent))-to.Capacity)
	if spent.Cmp(new(big.Rat).Sub(new(big.Rat).SetInt64(to.Capacity), o.slack)) > 0 {
		sure = sure && o.sure(spent)
	}
	owed += forgiven
	paid := min(owed, max(0, to.Capacity-from.limit.Capacity))
	spent.Add(spent, new(big.Rat).SetInt64(paid-forgiven))
	if o.exact { // a limiter's tick, a sixteenth of a nanosecond here, is never given away
		ticks := new(big.Rat).Quo(big.NewRat(16, 1), newModel(to).rate)
		spent.Neg(spent).Mul(spent, ticks)
		spent.SetInt64(-floor(spent)).Quo(spent, ticks)
	}
	return spent, owed - paid, sure
}

// sure reports whether x is clear of the next whole number by more than the slack, or there is
// none.
func (o *oracle) sure(x *big.Rat) bool {
	return o.slack.Sign() == 0 ||
		floor(new(big.Rat).Add(x, o.slack)) == floor(new(big.Rat).Sub(x, o.slack))
}

func floor(x *big.Rat) int64 {
	return new(big.Int).Div(x.Num(), x.Denom()).Int64() // Euclidean, and the denominator is positive
}

// decide takes a token from the account, as the limiter has decided where that is open, and returns
// what the decision should be.
func (o *oracle) decide(a *account, got Decision) Decision {
	one := big.NewRat(1, 1)
	allowed := a.tokens.Cmp(one) >= 0
	if off := new(big.Rat).Sub(a.tokens, one); off.Abs(off).Cmp(o.slack) <= 0 && o.slack.Sign() > 0 {
		allowed = got.Allowed
	}
	if allowed {
		a.tokens = new(big.Rat).Sub(a.tokens, one)
	}
	want := Decision{Allowed: allowed, Capacity: a.limit.Capacity, Window: prepare(a.limit).window}
	want.Remaining = max(0, floor(a.tokens))
	lacking := new(big.Rat).SetInt64(want.Remaining + 1)
	lacking.Sub(a.tokens, lacking).Quo(lacking, a.rate)
	want.Reset = time.Duration(-floor(lacking))
	if !allowed {
		want.RetryAfter = want.Reset
	}
	if !o.exact { // whole tokens and nanoseconds have room for doubt; that they are exact is shown elsewhere
		want.Remaining, want.Reset, want.RetryAfter = got.Remaining, got.Reset, got.RetryAfter
	}
	return want
}

// oracleLimits are limits of two kinds. Where a token takes a power of two of nanoseconds, nothing
// is rounded and everything has to agree. Of others a decision is open while the bucket is within
// the slack of a token.
func oracleLimits(exact bool) *rapid.Generator[Limit] {
	return rapid.Custom(func(t *rapid.T) Limit {
		capacity := rapid.Int64Range(1, 12).Draw(t, "capacity")
		if exact {
			interval := int64(1) << rapid.IntRange(0, 22).Draw(t, "log interval")
			return Limit{capacity, 1e9 / float64(interval)}
		}
		return Limit{capacity, rapid.SampledFrom([]float64{0.3, 1, 3, 7.7, 333.3, 1000, 123_456.7, 999_983}).Draw(t, "rate")}
	})
}

// TestLimiterAgreesWithOracle has clients, registered and not, ask for tokens while their limits
// are changed and deleted and time goes on. In half of the runs the clock may go back; in the other
// half the table is so small that clients are evicted without pause, though never more are in debt
// than it holds. Not both: who was full at the later time, and was evicted, was not so at the
// earlier one.
func TestLimiterAgreesWithOracle(t *testing.T) {
	for _, exact := range []bool{true, false} {
		for _, tiny := range []bool{true, false} {
			t.Run("exact="+strconv.FormatBool(exact)+", tiny="+strconv.FormatBool(tiny), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { compare(t, exact, tiny) })
			})
		}
	}
}

func compare(t *rapid.T, exact, tiny bool) {
	d := &duel{limits: oracleLimits(exact), now: t0, addresses: rapid.IntRange(0, 5)}
	cfg := DefaultConfig()
	cfg.Default = d.limits.Draw(t, "default")
	if tiny {
		cfg.MaxTracked, d.addresses = rapid.IntRange(1, clientsPerGroup).Draw(t, "places"), rapid.IntRange(0, 39)
	}
	d.l, d.places = New(cfg), cfg.MaxTracked
	d.o = &oracle{cfg.Default, new(big.Rat), exact, map[netip.Addr]*account{}, map[netip.Prefix]*account{}}
	if !exact {
		d.o.slack.SetFloat64(1e6 / 4e9)
	}
	actions := map[string]func(*rapid.T){"take": d.take, "wait": d.wait, "set": d.set, "delete": d.delete}
	if !tiny {
		actions["step back"] = func(t *rapid.T) { d.now -= rapid.Int64Range(1, 20e6).Draw(t, "step") }
		for i := range 6 { // who is new at an earlier time than others were is no newer than these
			d.ask(t, ipv4(i))
		}
	}
	for range rapid.IntRange(1, 120).Draw(t, "steps") {
		if d.open || d.now > years {
			return
		}
		name := rapid.SampledFrom([]string{"take", "take", "take", "wait", "wait", "set", "delete", "step back"}).Draw(t, "action")
		if action := actions[name]; action != nil {
			action(t)
		}
	}
	if tiny && d.l.Tracked() > d.places {
		t.Fatalf("%d tracked, want at most %d", d.l.Tracked(), d.places)
	}
}

// duel is a limiter and an oracle to whom the same happens.
type duel struct {
	l         *Limiter
	o         *oracle
	limits    *rapid.Generator[Limit]
	addresses *rapid.Generator[int]
	places    int // in the table
	now       int64
	open      bool // the limiter's rounding has decided about a whole token, so the two may differ by it
}

func (d *duel) ask(t *rapid.T, addr netip.Addr) {
	d.room()
	got := d.l.take(d.l.Identify(addr), d.now)
	if want := d.o.decide(d.o.find(addr, d.now), got); got != want {
		t.Fatalf("%s at %d: %+v, want %+v (slack %s)", addr, d.now, got, want, d.o.slack.FloatString(9))
	}
}

// room waits until one more client may be in debt.
func (d *duel) room() {
	for d.o.debtors(d.now) >= d.places {
		d.now += 1 + int64(1e9/d.o.limit.RatePerSecond)
	}
}

func (d *duel) client(t *rapid.T) netip.Prefix {
	bits := rapid.SampledFrom([]int{32, 32, 32, 30, 29, 27}).Draw(t, "bits")
	return netip.PrefixFrom(ipv4(d.addresses.Draw(t, "address")), bits).Masked()
}

func (d *duel) take(t *rapid.T) {
	addr := ipv4(d.addresses.Draw(t, "address"))
	for range rapid.IntRange(1, 8).Draw(t, "requests") {
		d.ask(t, addr)
	}
}

func (d *duel) wait(t *rapid.T) {
	tokens := rapid.Float64Range(0, 4).Draw(t, "tokens")
	d.now += int64(tokens / d.limits.Draw(t, "like").RatePerSecond * 1e9)
}

func (d *duel) set(t *rapid.T) {
	p, limit := d.client(t), d.limits.Draw(t, "limit")
	d.l.set(p, limit, d.now)
	d.open = !d.o.set(p, limit, d.now)
}

func (d *duel) delete(t *rapid.T) {
	p := d.client(t)
	d.room()
	d.l.delete(p, d.now)
	d.open = !d.o.remove(p, d.now)
}
