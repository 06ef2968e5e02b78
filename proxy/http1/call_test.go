package http1

import "testing"

func TestRepeatable(t *testing.T) {
	for _, test := range []struct {
		name       string
		call       *Call
		idempotent bool
		want       bool
	}{
		{"idempotent", &Call{BytesSent: 1}, true, true},
		{"not idempotent", &Call{BytesSent: 1}, false, false},
		{"not idempotent, nothing sent", &Call{}, false, true},
		{"a byte has come", &Call{BytesSent: 1, in: inbound{arrived: true}}, true, false},
		{"too much was taken", &Call{BytesSent: 1, upload: upload{replay: replay{lost: true}}}, true, false},
	} {
		if got := test.call.Repeatable(test.idempotent); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
