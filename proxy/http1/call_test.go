package http1

import (
	"testing"

	"loadbalancer/proxy/ends"
)

func TestRepeatable(t *testing.T) {
	for _, test := range []struct {
		name       string
		sent       int
		arrived    bool // a byte of a response
		lost       bool // more of the body was read than can be kept
		idempotent bool
		want       bool
	}{
		{"idempotent", 1, false, false, true, true},
		{"not idempotent", 1, false, false, false, false},
		{"not idempotent, nothing sent", 0, false, false, false, true},
		{"a byte has come", 1, true, false, true, false},
		{"too much was taken", 1, false, true, true, false},
	} {
		c := &Call{Progress: ends.Progress{BytesSent: test.sent}, stream: endOf(new(Stream)), in: inbound{arrived: test.arrived}}
		if test.lost {
			c.stream.Replay.Lose()
		}
		if got := c.Repeatable(test.idempotent); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
