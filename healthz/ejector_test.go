package healthz

import (
	"testing"
	"time"
)

var day = time.Unix(1_000_000, 0)

// TestEjectorStreak: consecutive failures eject a backend, unless they are all of one client while
// others are served.
func TestEjectorStreak(t *testing.T) {
	const a, b = 1, 2
	type event struct {
		client  uint64
		success bool
		others  bool
		want    bool
	}
	fail := func(client uint64, others, want bool) event { return event{client: client, others: others, want: want} }
	for _, test := range []struct {
		name   string
		events []event
	}{
		{"three in a row", []event{fail(a, false, false), fail(a, false, false), fail(a, false, true)}},
		{"a success between", []event{fail(a, false, false), fail(a, false, false), {success: true}, fail(a, false, false), fail(a, false, false), fail(a, false, true)}},
		{"one client, others are served", []event{fail(a, true, false), fail(a, true, false), fail(a, true, false), fail(a, true, false)}},
		{"one client, others no longer are", []event{fail(a, true, false), fail(a, true, false), fail(a, true, false), fail(a, false, true)}},
		{"two clients", []event{fail(a, true, false), fail(b, true, false), fail(a, true, true)}},
		{"another client in the streak before", []event{fail(b, true, false), {success: true}, fail(a, true, false), fail(a, true, false), fail(a, true, false)}},
		{"refused connects", []event{fail(AnyClient, true, false), fail(AnyClient, true, false), fail(AnyClient, true, true)}},
		{"a refused connect among others", []event{fail(a, true, false), fail(AnyClient, true, false), fail(a, true, true)}},
	} {
		var e Ejector
		c := DefaultEjection()
		for i, event := range test.events {
			if event.success {
				e.Success()
			} else if got := e.Failure(&c, event.client, day, event.others); got != event.want {
				t.Errorf("%s: event %d: ejected is %v, want %v", test.name, i, got, event.want)
			}
		}
	}
	var e Ejector
	for range 10 {
		if e.Failure(&Ejection{}, AnyClient, day, false) {
			t.Error("a backend is ejected although ejection is off")
		}
	}
}

// TestEjectorTime: each ejection is twice as long as the one before, up to max, and base again
// after a time without one. Requests that began before the backend came back count for nothing.
func TestEjectorTime(t *testing.T) {
	c := Ejection{Failures: 1, Base: 5 * time.Second, Max: 30 * time.Second, MaxEjected: 50}
	var e Ejector
	now := day
	for i, want := range []time.Duration{5, 10, 20, 30, 30} {
		if got := e.Eject(&c, now); got != want*time.Second {
			t.Errorf("ejection %d lasts %s, want %ds", i, got, want)
		}
		now = now.Add(want*time.Second + time.Second)
	}
	if e.Failure(&c, AnyClient, now.Add(-2*time.Second), false) {
		t.Error("a failure of the time before counts")
	}
	if !e.Failure(&c, AnyClient, now, false) {
		t.Error("a failure of the time since does not count")
	}
	if got := e.Eject(&c, now.Add(c.Max)); got != c.Base {
		t.Errorf("after %s without one, an ejection lasts %s", c.Max, got)
	}
	long := Ejection{Failures: 1, Base: 24 * time.Hour, Max: 24 * time.Hour}
	for range 100 {
		if got := e.Eject(&long, now); got != long.Max {
			t.Fatalf("an ejection lasts %s, want %s", got, long.Max)
		}
	}
}

func TestEjectionAllows(t *testing.T) {
	for _, test := range []struct {
		percent, ejected, taking, all int
		want                          bool
	}{
		{50, 0, 1, 1, false}, // the last
		{50, 0, 2, 2, true},
		{50, 0, 1, 2, false}, // the other is down
		{50, 1, 2, 3, false},
		{10, 0, 3, 3, true}, // one at least
		{50, 1, 3, 4, true},
		{50, 2, 2, 4, false},
		{100, 2, 2, 4, true},
		{100, 3, 1, 4, false},
		{0, 0, 4, 4, false},
	} {
		if got := (Ejection{MaxEjected: test.percent}).Allows(test.ejected, test.taking, test.all); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestAnswersStandOut(t *testing.T) {
	for _, test := range []struct {
		name    string
		answers Answers
		median  int
		others  bool
		want    bool
	}{
		{"all fail, the peers' do not", Answers{100, 100, 1}, 0, false, true},
		{"too few", Answers{19, 19, 19}, 0, false, false},
		{"as many as are needed", Answers{20, 10, 1}, 0, false, true},
		{"less than half", Answers{100, 49, 49}, 0, false, false},
		{"the peers fail too", Answers{100, 100, 100}, 71, false, false},
		{"the peers fail less", Answers{100, 100, 100}, 70, false, true},
		{"one client, others are served", Answers{100, 90, 1}, 0, true, false},
		{"many clients, others are served", Answers{100, 60, 25}, 0, true, true},
		{"none", Answers{}, 0, false, false},
	} {
		if got := test.answers.StandOut(test.median, test.others); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}

func TestSilent(t *testing.T) {
	for _, test := range []struct {
		waiting int
		peers   bool
		others  int
		served  bool // others
		want    bool
	}{
		{8, true, 0, false, true},
		{7, true, 7, false, false},
		{100, false, 99, false, false},
		{100, true, 0, true, false},
		{100, true, 5, true, false},
		{8, true, 6, true, true},
	} {
		if got := Silent(test.waiting, test.peers, test.others, test.served); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestEjectionValidate(t *testing.T) {
	for _, test := range []struct {
		change func(*Ejection)
		want   string // the path of the fault; "": none
	}{
		{func(*Ejection) {}, ""},
		{func(c *Ejection) { c.Failures = 0 }, ""},
		{func(c *Ejection) { c.Failures = -1 }, "failures"},
		{func(c *Ejection) { c.Failures = 1001 }, "failures"},
		{func(c *Ejection) { c.Base = 0 }, "base"},
		{func(c *Ejection) { c.Base = 25 * time.Hour }, "base"},
		{func(c *Ejection) { c.Max = time.Second }, "max"},
		{func(c *Ejection) { c.Max = 25 * time.Hour }, "max"},
		{func(c *Ejection) { c.MaxEjected = 101 }, "max_ejected"},
		{func(c *Ejection) { c.MaxEjected = -1 }, "max_ejected"},
	} {
		c := DefaultEjection()
		test.change(&c)
		got := ""
		c.Validate(func(path string, _ any, allowed string) {
			if got += path; allowed == "" {
				t.Errorf("%s: what is allowed is not said", path)
			}
		})
		if got != test.want {
			t.Errorf("%+v: the fault is %q, want %q", c, got, test.want)
		}
	}
}
