package upstream

import (
	"errors"
	"slices"
	"testing"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/reason"
)

// What is known of a backend, and why it takes no requests.
func TestStates(t *testing.T) {
	p, _ := newOutlierPool(3)
	b := p.backends[0]
	require := func(when, state, lastError string, streak int, causes ...string) BackendState {
		t.Helper()
		got := p.States()[0]
		if got.State != state || got.LastError != lastError || got.LastErrorAt.IsZero() != (lastError == "") || got.Streak != streak || !slices.Equal(got.Causes, causes) {
			t.Errorf("%s: it is %+v", when, got)
		}
		return got
	}
	first := require("at first", "up", "", 0)
	if first.Since.IsZero() || first.TimeToHeader != nil || first.Requests != 0 || !first.EjectedUntil.IsZero() {
		t.Errorf("at first it is %+v", first)
	}
	fail := func(client uint64, status int, why reason.Code, cause error) {
		b.Begin()
		p.Count(b, &Result{Status: status, Reason: why, Cause: cause, Client: client, Began: time.Now()})
		b.End(false, 0)
	}
	b.Begin()
	p.Count(b, &Result{Status: 200, Waited: 20 * time.Millisecond, Client: 9, Began: time.Now()})
	if got := require("after a response", "up", "", 0); got.InFlight != 1 || got.Requests != 1 || got.TimeToHeader == nil || got.TimeToHeader.Mean != 20 {
		t.Errorf("with a request in flight it is %+v", got)
	}
	b.End(false, 0)
	fail(1, 500, reason.None, nil)
	require("after a 500, which is no failure in a row", "up", "status 500", 0)
	fail(1, 503, reason.None, errors.New("of another backend"))
	require("after a 503", "up", "status 503", 1)
	fail(2, 0, reason.BackendReset, nil)
	require("after a reset", "up", "backend_reset", 2)
	fail(3, 0, reason.ConnectFailed, errors.New("connection refused"))
	got := require("after a third failure", "ejected", "connect_failed: connection refused", 0, "ejected: 3 failures in a row, the last: connect_failed: connection refused")
	if left := time.Until(got.EjectedUntil); left <= 0 || left > 5*time.Second || got.Since.Before(first.Since) || got.TakesRequests || got.EffectiveWeight != 0 {
		t.Errorf("ejected, it is %+v", got)
	}
	fail(3, 0, reason.Overloaded, errors.New("full"))
	require("an attempt that was not made changes nothing", "ejected", "connect_failed: connection refused", 0, got.Causes...)

	p.report(b, healthz.Verdict{Down: true, Cause: healthz.Refused, Err: errors.New("health check of it: refused")})
	p.Drain(b.Name(), time.Time{})
	down := require("down as well", "down,ejected,draining", "health check of it: refused", 0, "health check of it: refused", got.Causes[0], "drained by an operator")
	if down.Cause != "refused" {
		t.Errorf("down, it is %+v", down)
	}
	p.report(b, healthz.Verdict{Down: true, Cause: healthz.Refused})
	require("when a check has passed", "down,ejected,draining", "health check of it: refused", 0,
		"health check: refused; it has passed since, but not yet rise times in a row", got.Causes[0], "drained by an operator")
	p.Mark(b, Unproven, true)
	p.report(b, healthz.Verdict{})
	p.readmit(b, time.Now())
	p.Resume(b.Name())
	last := require("up again", "up", "health check of it: refused", 0)
	if last.Since.Before(down.Since) || last.EffectiveWeight != 1.0/rampSteps {
		t.Errorf("up again, it is %+v", last)
	}
}
