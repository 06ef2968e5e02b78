package limiter

import (
	"math/big"
	"net/netip"
	"slices"
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
	anonymous  map[netip.Addr]*ledger
	registered map[ID]*ledger
	departed   map[ID]*ledger
	keys       map[string][]string // by name
	floors     []floor
	each       map[ID]*division // of registered ranges with Terms.Each
	buried     map[ID]*division // of those that are departed
}

// floor is what each address of a deleted range has spent at least, at a time.
type floor struct {
	within netip.Prefix
	spent  *big.Rat
	at     int64
}

// ledger is a model with a limit that can change.
type ledger struct {
	*model
	limit  Limit
	owed   int64 // tokens that a smaller capacity has forgiven
	opened bool  // a bucket is full until it is first used, whenever that is
}

func newLedger(l Limit) *ledger { return &ledger{model: newModel(l), limit: l} }

// uncapped returns the tokens that there would be now, did the bucket not overflow.
func (a *ledger) uncapped(now int64) *big.Rat {
	if !a.opened {
		a.last, a.opened = now, true
	}
	gained := new(big.Rat).Mul(a.rate, new(big.Rat).SetInt64(now-a.last))
	return gained.Add(gained, a.tokens)
}

func (a *ledger) refill(now int64) {
	a.uncapped(now)
	a.model.refill(now)
}

// find returns the ledger that pays for a request of the address with the key, and has it refilled.
func (o *oracle) find(addr netip.Addr, key string, now int64) *ledger {
	id := o.payer(addr, key)
	a := o.registered[id]
	switch d := o.each[id]; {
	case a == nil:
		return o.unregistered(addr, now)
	case d != nil:
		a = d.of(addr)
	}
	a.refill(now)
	return a
}

func (o *oracle) payer(addr netip.Addr, key string) ID {
	for name, its := range o.keys {
		if slices.Contains(its, key) {
			return ID{Name: name}
		}
	}
	for bits := addr.BitLen(); bits >= 0; bits-- {
		if p, err := addr.Prefix(bits); err == nil && o.registered[ID{Prefix: p}] != nil {
			return ID{Prefix: p}
		}
	}
	return ID{}
}

func (o *oracle) unregistered(addr netip.Addr, now int64) *ledger {
	if o.anonymous[addr] == nil {
		o.anonymous[addr] = newLedger(o.limit)
	}
	a := o.anonymous[addr]
	a.refill(now)
	o.applyFloors(a, addr, now)
	return a
}

// peek returns a copy of what unregistered returns, and leaves the oracle as it is.
func (o *oracle) peek(addr netip.Addr, now int64) *ledger {
	a := newLedger(o.limit)
	if known := o.anonymous[addr]; known != nil {
		copied := *known.model
		a = &ledger{model: &copied, limit: known.limit, opened: known.opened}
	}
	a.tokens, a.last = a.uncapped(now), now
	o.applyFloors(a, addr, now)
	return a
}

func (o *oracle) applyFloors(a *ledger, addr netip.Addr, now int64) {
	for _, f := range o.floors {
		if f.within.Contains(addr) {
			a.spend(f.left(o, now))
		}
	}
}

// left returns how much of the floor is not refilled yet.
func (f *floor) left(o *oracle, now int64) *big.Rat {
	gained := new(big.Rat).SetInt64(now - f.at)
	return gained.Sub(f.spent, gained.Mul(gained, newModel(o.limit).rate))
}

// spend makes what is spent at least so much.
func (a *ledger) spend(tokens *big.Rat) {
	if left := new(big.Rat).Sub(a.capacity, tokens); left.Cmp(a.tokens) < 0 {
		a.tokens = left
	}
}

// debtors counts the unregistered clients that are not full, or not surely so.
func (o *oracle) debtors(now int64) (n int) {
	for _, a := range o.anonymous {
		if full := a.uncapped(now); full.Sub(full, o.slack).Cmp(a.capacity) < 0 {
			n++
		}
	}
	return n + o.dividedDebtors(now)
}

// set changes the limit of a registered client, or registers one: with what it had spent when it
// was deleted, and what its address has spent as an unregistered client.
func (o *oracle) set(id ID, keys []string, l Limit, each bool, now int64) (sure bool) {
	sure = o.takeAway(keys, id.Name, now)
	old, known := o.registered[id]
	was := o.each[id]
	if !known {
		old, was = o.departed[id], o.buried[id]
		delete(o.departed, id)
		delete(o.buried, id)
	}
	if known && was != nil && !each {
		was.raise(old, now)
	}
	a := newLedger(l)
	o.registered[id] = a
	if id.Name != "" {
		o.keys[id.Name] = keys
	}
	if old != nil {
		spent, owed, certain := o.carry(old, l, old.owed, now)
		a.last, a.opened, a.owed = now, true, owed
		a.spend(spent)
		sure = sure && certain
	}
	if !known && id.Name == "" && id.Prefix.IsSingleIP() {
		spent, _, certain := o.carry(o.peek(id.Prefix.Addr(), now), l, 0, now)
		a.last, a.opened = now, true
		a.spend(spent)
		sure = sure && certain
	}
	return o.divide(id, a, was, known, each, now) && sure
}

// takeAway takes the keys away from all clients but the one with the name, and deletes those that
// are left with none.
func (o *oracle) takeAway(keys []string, name string, now int64) (sure bool) {
	sure = true
	for other, its := range o.keys {
		left := slices.DeleteFunc(slices.Clone(its), func(key string) bool { return slices.Contains(keys, key) })
		if other == name || len(left) == len(its) {
			continue
		}
		if o.keys[other] = left; len(left) == 0 {
			sure = o.remove(ID{Name: other}, now) && sure
		}
	}
	return sure
}

// remove deletes a registered client, and has its addresses pay for what it has spent.
func (o *oracle) remove(id ID, now int64) (sure bool) {
	old := o.registered[id]
	if old == nil {
		return true
	}
	delete(o.registered, id)
	delete(o.keys, id.Name)
	fresh := !old.opened
	gained := new(big.Rat).Sub(old.uncapped(now), old.capacity)
	sure = old.owed == 0 || o.sure(gained)
	d := o.each[id]
	sure = sure && (d == nil || o.clear(d.missing(now)))
	if gained.Cmp(new(big.Rat).SetInt64(old.owed)) < 0 || d != nil && d.missing(now).Sign() > 0 {
		o.departed[id] = old
		if d != nil {
			o.buried[id] = d
		}
	}
	if d != nil {
		sure = o.bury(id, d, now) && sure
	}
	if id.Name != "" {
		return sure
	}
	spent, _, certain := o.carry(old, o.limit, 0, now)
	old.opened = !fresh // to look at it is not to use it
	switch {
	case spent.Sign() <= 0:
	case id.Prefix.IsSingleIP():
		o.unregistered(id.Prefix.Addr(), now).spend(spent)
	default:
		if !slices.ContainsFunc(o.floors, func(f floor) bool { return f.left(o, now).Sign() > 0 }) {
			o.floors = nil
		}
		o.floors = append(o.floors, floor{id.Prefix, spent, now})
	}
	return sure && certain
}

// reset makes a registered client's bucket full.
func (o *oracle) reset(id ID) {
	if old := o.registered[id]; old != nil {
		o.registered[id] = newLedger(old.limit)
		if o.each[id] != nil {
			o.each[id] = &division{newLedger(old.limit), map[netip.Addr]*ledger{}}
		}
	}
}

// setDefault changes the limit of the unregistered. Floors without effect are dropped.
func (o *oracle) setDefault(l Limit, now int64) {
	if l == o.limit {
		return
	}
	for addr, a := range o.anonymous {
		o.anonymous[addr] = o.transfer(a, l, now)
	}
	o.floors = slices.DeleteFunc(o.floors, func(f floor) bool { return f.left(o, now).Sign() <= 0 })
	for i, f := range o.floors {
		a := newLedger(o.limit)
		a.tokens, a.last, a.opened = new(big.Rat).Sub(a.capacity, f.spent), f.at, true
		a = o.transfer(a, l, now)
		o.floors[i] = floor{f.within, new(big.Rat).Sub(a.capacity, a.tokens), a.last}
	}
	o.limit = l
}

// transfer returns the ledger of an unregistered client by a new limit. A bucket that is full has
// been so since the same nanosecond.
func (o *oracle) transfer(from *ledger, to Limit, now int64) *ledger {
	a := newLedger(to)
	if !from.opened {
		return a
	}
	a.last, a.opened = now, true
	if missing := new(big.Rat).Sub(from.capacity, from.tokens); from.uncapped(now).Cmp(from.capacity) >= 0 {
		if !o.exact { // that nanosecond may be another
			o.slack.Add(o.slack, new(big.Rat).SetFloat64((from.limit.RatePerSecond+to.RatePerSecond)/5e8))
		}
		a.last = from.last - wholes(missing.Quo(missing, from.rate).Neg(missing))
		return a
	}
	spent, later := o.spent(from, to, now)
	if spent.Cmp(a.capacity) > 0 {
		spent.Set(a.capacity)
	}
	a.spend(o.ticks(spent.Add(spent, later.Mul(later, a.rate)), to))
	return a
}

// spent returns what a client has spent when a change of its limit takes effect, and how many
// nanoseconds later than now that is.
func (o *oracle) spent(from *ledger, to Limit, now int64) (spent, later *big.Rat) {
	if !o.exact {
		o.slack.Add(o.slack, new(big.Rat).SetFloat64((from.limit.RatePerSecond+to.RatePerSecond)/4e9))
	}
	left := from.uncapped(now)
	spent = new(big.Rat).Sub(from.capacity, left)
	// A bucket used later than now changes at the first nanosecond at which it lacks no more than
	// all.
	later = new(big.Rat)
	if left.Cmp(o.slack) < 0 {
		if !o.exact { // that nanosecond may be the one before or after
			o.slack.Add(o.slack, new(big.Rat).SetFloat64((from.limit.RatePerSecond+to.RatePerSecond)/1e9))
		}
		later.Quo(left, from.rate)
		later.SetInt64(max(0, -wholes(later)))
		spent.Sub(spent, new(big.Rat).Mul(later, from.rate))
	}
	return spent, later
}

// ticks rounds what was spent up to a limiter's tick, a sixteenth of a nanosecond here, as no part
// of one is ever given away.
func (o *oracle) ticks(spent *big.Rat, l Limit) *big.Rat {
	if o.exact {
		ticks := new(big.Rat).Quo(big.NewRat(16, 1), newModel(l).rate)
		spent.Neg(spent).Mul(spent, ticks)
		spent.SetInt64(-wholes(spent)).Quo(spent, ticks)
	}
	return spent
}

// carry returns what a client has spent by a new limit, and owes. It is sure unless what the
// limiter rounds decides about a whole token.
func (o *oracle) carry(from *ledger, to Limit, owed, now int64) (spent *big.Rat, nowOwed int64, sure bool) {
	spent, later := o.spent(from, to, now)
	sure = true
	if spent.Sign() < 0 {
		gained := new(big.Rat).Neg(spent)
		sure = owed == 0 || o.sure(gained)
		owed = max(0, owed-wholes(gained))
		spent.SetInt64(0)
	}
	forgiven := max(0, -wholes(new(big.Rat).Neg(spent))-to.Capacity)
	if spent.Cmp(new(big.Rat).Sub(new(big.Rat).SetInt64(to.Capacity), o.slack)) > 0 {
		sure = sure && o.sure(spent)
	}
	owed += forgiven
	paid := min(owed, max(0, to.Capacity-from.limit.Capacity))
	spent.Add(spent, new(big.Rat).SetInt64(paid-forgiven))
	spent.Add(spent, later.Mul(later, newModel(to).rate))
	return o.ticks(spent, to), owed - paid, sure
}

// sure reports whether x is clear of the next whole number by more than the slack, or there is
// none.
func (o *oracle) sure(x *big.Rat) bool {
	return o.slack.Sign() == 0 ||
		wholes(new(big.Rat).Add(x, o.slack)) == wholes(new(big.Rat).Sub(x, o.slack))
}

// clear reports whether x is clear of 0 by more than the slack, or there is none.
func (o *oracle) clear(x *big.Rat) bool {
	return o.slack.Sign() == 0 || new(big.Rat).Abs(x).Cmp(o.slack) > 0
}

func wholes(x *big.Rat) int64 {
	return new(big.Int).Div(x.Num(), x.Denom()).Int64() // Euclidean, and the denominator is positive
}

// decide takes a token from the ledger, as the limiter has decided where that is open, and returns
// what the decision should be.
func (o *oracle) decide(a *ledger, got Decision) Decision {
	one := big.NewRat(1, 1)
	allowed := a.tokens.Cmp(one) >= 0
	if off := new(big.Rat).Sub(a.tokens, one); off.Abs(off).Cmp(o.slack) <= 0 && o.slack.Sign() > 0 {
		allowed = got.Allowed
	}
	if allowed {
		a.tokens = new(big.Rat).Sub(a.tokens, one)
	}
	want := Decision{Allowed: allowed, Capacity: a.limit.Capacity, Window: prepare(a.limit).window}
	want.Remaining = max(0, wholes(a.tokens))
	lacking := new(big.Rat).SetInt64(want.Remaining + 1)
	lacking.Sub(a.tokens, lacking).Quo(lacking, a.rate)
	want.Reset = time.Duration(-wholes(lacking))
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
// than it holds. Not both: a client that was full at the later time, and was evicted, was not so at
// the earlier one.
func TestLimiterAgreesWithOracle(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and ten times as long")
	}
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
	cfg.Default.Limit = d.limits.Draw(t, "default")
	if tiny {
		cfg.MaxTracked, d.addresses = rapid.IntRange(1, clientsPerGroup).Draw(t, "places"), rapid.IntRange(0, 39)
	}
	d.l, d.places = New(cfg), cfg.MaxTracked
	d.o = &oracle{
		limit: cfg.Default.Limit, slack: new(big.Rat), exact: exact,
		anonymous: map[netip.Addr]*ledger{}, registered: map[ID]*ledger{}, departed: map[ID]*ledger{}, keys: map[string][]string{},
		each: map[ID]*division{}, buried: map[ID]*division{},
	}
	if !exact {
		d.o.slack.SetFloat64(1e6 / 4e9)
	}
	actions := map[string]func(*rapid.T){
		"take": d.take, "wait": d.wait, "set": d.set, "delete": d.delete, "reset": d.reset, "exempt": d.exempt, "set default": d.setDefault,
	}
	if !tiny {
		actions["step back"] = func(t *rapid.T) { d.now -= rapid.Int64Range(1, 20e6).Draw(t, "step") }
		for i := range 6 { // a client new at an earlier time than others is no newer than these
			d.ask(t, ipv4(i), "")
		}
	}
	for range rapid.IntRange(1, 120).Draw(t, "steps") {
		if d.open || d.now > years {
			return
		}
		name := rapid.SampledFrom([]string{"take", "take", "take", "wait", "wait", "set", "delete", "reset", "exempt", "set default", "step back"}).Draw(t, "action")
		if action := actions[name]; action != nil {
			action(t)
		}
	}
	if tiny && d.l.Tracked() > d.places {
		t.Fatalf("%d tracked, want at most %d", d.l.Tracked(), d.places)
	}
}

// duel is a limiter and an oracle that get the same requests and changes.
type duel struct {
	l         *Limiter
	o         *oracle
	limits    *rapid.Generator[Limit]
	addresses *rapid.Generator[int]
	places    int // in the table
	now       int64
	open      bool // the limiter's rounding has decided about a whole token, so the two may differ by it
}

func (d *duel) ask(t *rapid.T, addr netip.Addr, key string) {
	d.room()
	got := d.l.take(d.l.Identify(addr, []byte(key)), d.now)
	want := d.o.decide(d.o.find(addr, key, d.now), got)
	if !want.Allowed {
		want.Exceeded = Rate
	}
	if got != want {
		t.Fatalf("%s with key %q at %d: %+v, want %+v (slack %s)", addr, key, d.now, got, want, d.o.slack.FloatString(9))
	}
}

// room waits until one more client may be in debt.
func (d *duel) room() {
	for d.o.debtors(d.now) >= d.places {
		d.now += 1 + int64(1e9/d.o.slowest())
	}
}

// oracleKeys are the keys of clients and of requests.
var oracleKeys = []string{"1", "2", "3", "4", "5"}

// client draws an address, a range or a name, with up to four keys in that case.
func (d *duel) client(t *rapid.T) (id ID, keys []string) {
	if rapid.IntRange(0, 5).Draw(t, "named") == 0 {
		id.Name = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")
		return id, rapid.SliceOfN(rapid.SampledFrom(oracleKeys), 0, MaxKeys).Draw(t, "keys")
	}
	bits := rapid.SampledFrom([]int{32, 32, 32, 30, 29, 27}).Draw(t, "bits")
	id.Prefix = netip.PrefixFrom(ipv4(d.addresses.Draw(t, "address")), bits).Masked()
	return id, nil
}

func (d *duel) take(t *rapid.T) {
	addr := ipv4(d.addresses.Draw(t, "address"))
	key := rapid.SampledFrom(append([]string{"", "", "", "", ""}, oracleKeys...)).Draw(t, "key")
	for range rapid.IntRange(1, 8).Draw(t, "requests") {
		d.ask(t, addr, key)
	}
}

// exempt makes requests that the oracle is not told of: they change nothing.
func (d *duel) exempt(t *rapid.T) {
	addr := ipv4(d.addresses.Draw(t, "address"))
	key := rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "key")
	tracked := d.l.Tracked()
	for range rapid.IntRange(1, 8).Draw(t, "requests") {
		var got Decision
		d.l.admitExempt(d.l.Identify(addr, []byte(key)), d.now, &got).Release()
		if got != (Decision{Allowed: true}) || d.l.Tracked() != tracked {
			t.Fatalf("%s with key %q: %+v, and %d tracked of %d", addr, key, got, d.l.Tracked(), tracked)
		}
	}
}

func (d *duel) wait(t *rapid.T) {
	tokens := rapid.Float64Range(0, 4).Draw(t, "tokens")
	d.now += int64(tokens / d.limits.Draw(t, "like").RatePerSecond * 1e9)
}

func (d *duel) set(t *rapid.T) {
	id, keys := d.client(t)
	limit := d.limits.Draw(t, "limit")
	each := id.Name == "" && !id.Prefix.IsSingleIP() && rapid.Bool().Draw(t, "each")
	d.room()
	d.l.set(Registration{id, digests(keys...), Terms{Limit: limit, Each: each}}, d.now)
	d.open = !d.o.set(id, keys, limit, each, d.now)
}

func (d *duel) setDefault(t *rapid.T) {
	limit := d.limits.Draw(t, "limit")
	d.l.setDefault(Default{Limit: limit}, func() int64 { return d.now })
	d.o.setDefault(limit, d.now)
}

func (d *duel) delete(t *rapid.T) {
	id, _ := d.client(t)
	d.room()
	d.l.delete(id, d.now)
	d.open = !d.o.remove(id, d.now)
}

func (d *duel) reset(t *rapid.T) {
	id, _ := d.client(t)
	d.l.Reset(id)
	d.o.reset(id)
}
