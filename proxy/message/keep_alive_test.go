package message

import (
	"testing"
	"time"
)

// TestKeepAlive reads how long a backend says that it keeps a connection.
func TestKeepAlive(t *testing.T) {
	for _, test := range []struct {
		fields  string
		want    time.Duration
		refuses bool // the connection is not kept at all
	}{
		{"", 0, false},
		{"Keep-Alive: timeout=5\r\n", 5 * time.Second, false},
		{"keep-alive: Timeout=5, max=100\r\n", 5 * time.Second, false},
		{"Keep-Alive: max=100,timeout = \"5\" \r\n", 5 * time.Second, false},
		{"Keep-Alive: timeout=9\r\nKeep-Alive: timeout=4, timeout=7\r\n", 4 * time.Second, false},
		{"Keep-Alive: timeout=0\r\n", 0, true},
		{"Keep-Alive: timeout=604800\r\n", 7 * 24 * time.Hour, false},
		{"Keep-Alive: timeout=604801\r\n", 0, false},
		{"Keep-Alive: timeout=99999999999999999999\r\n", 0, false},
		{"Keep-Alive: timeout=2.5, timeouts=3, max=7, timeout, =, 9\r\n", 0, false},
		{"Keep-Alive: 5\r\n", 0, false},
	} {
		var r Response
		if ok := r.Parse([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+test.fields+"\r\n"), false); !ok {
			t.Fatalf("%q is refused", test.fields)
		}
		if r.KeepFor != test.want || r.Keep == test.refuses {
			t.Errorf("%q: kept for %s, kept at all: %v; want %s, %v", test.fields, r.KeepFor, r.Keep, test.want, !test.refuses)
		}
	}
}
