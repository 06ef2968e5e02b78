package message

import (
	"strings"
	"testing"

	"loadbalancer/proxy/reason"
)

func TestIdempotent(t *testing.T) {
	for _, test := range []struct {
		name, request   string
		always, honored bool // without and with backends that honor an Idempotency-Key
	}{
		{"GET", "GET", true, true},
		{"PUT", "PUT", true, true},
		{"POST", "POST", false, false},
		{"lower case is another method", "get", false, false},
		{"POST with a key", "POST\r\nIdempotency-Key: a", false, true},
		{"POST with an empty key", "POST\r\nIdempotency-Key:", false, false},
	} {
		method, field, _ := strings.Cut(test.request, "\r\n")
		r := Request{Method: []byte(method), Target: []byte("/"), Proto: []byte("HTTP/1.1"), Header: []byte("Host: h\r\n" + field + "\r\n")}
		if why := r.Guard(&Rules{}); why != reason.None {
			t.Fatalf("%s: %s", test.name, why)
		}
		if got := r.Idempotent(false); got != test.always {
			t.Errorf("%s: %v, want %v", test.name, got, test.always)
		}
		if got := r.Idempotent(true); got != test.honored {
			t.Errorf("%s, honored: %v, want %v", test.name, got, test.honored)
		}
	}
}
