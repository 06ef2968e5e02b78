package proxy

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// connectionCounter is a backend that counts its open connections.
func connectionCounter(t *testing.T) (url string, open *atomic.Int64) {
	t.Helper()
	open = new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, open
}

// addressIn returns the address of a URL.
func addressIn(url string) string { return nameOf(url) }

// The idle connections of a drained backend are closed at once or, where clients are kept there, at
// the deadline.
func TestDrainClosesIdleConnections(t *testing.T) {
	t.Parallel()
	backend, open := connectionCounter(t)
	for _, test := range []struct {
		name string
		o    Options
		stay time.Duration
	}{
		{"at once", testOptions(backend), time.Hour},
		{"at the deadline", stickyOptions(backend), 200 * time.Millisecond},
	} {
		p, address := startProxy(t, test.o)
		_, cookie := meet(t, "http://"+address)
		if n := open.Load(); n != 1 {
			t.Fatalf("%s: after a request, %d connections are open", test.name, n)
		}
		begun := time.Now()
		p.Pools()[0].Drain(addressIn(backend), begun.Add(test.stay))
		if cookie != "" {
			mustStay(t, test.name, "http://"+address, "", cookie)
		}
		eventually(t, test.name+", the connection to be closed", func() bool { return open.Load() == 0 })
		if took := time.Since(begun); cookie != "" && took < test.stay {
			t.Errorf("%s: it was closed after %s", test.name, took)
		}
	}
}

// A request whose body is slow to come, and one that is under way, when their backend is drained:
// the first goes elsewhere, and the second is answered there. Then its connection is closed.
func TestDrainUnderWay(t *testing.T) {
	t.Parallel()
	entered, release, closed := make(chan bool, 2), make(chan bool), make(chan bool, 2)
	drained := startRawBackend(t, func(conn net.Conn) {
		for in := bufio.NewReader(conn); ; {
			if _, err := readRequestHeader(in); err != nil {
				closed <- true
				return
			}
			entered <- true
			<-release
			_, _ = io.WriteString(conn, leaseOK)
		}
	})
	other, seen := startRequestCounter(t)
	o := testOptions(drained, other)
	change(&o, func(c *upstream.PoolConfig) { c.Backends[1].Weight = 0 }) // both go to the first
	p, address := startProxy(t, o)
	pool := p.Pools()[0]

	waits, slow := newWire(t, address), newWire(t, address)
	waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
	eventually(t, "both to be under way", func() bool { return requestsUnderWay(p) == 2 })
	time.Sleep(20 * time.Millisecond) // the second picks its backend
	pool.SetWeight(addressIn(other), 1)
	if s, known := pool.Drain(addressIn(drained), time.Time{}); !known || s.InFlight != 1 {
		t.Errorf("the drain returned %+v", s)
	}
	slow.send("dy")
	if r := slow.receive("POST"); r.StatusCode != 200 || seen.Load() != 1 {
		t.Errorf("the slow request got %s, and %d were sent elsewhere", r.Status, seen.Load())
	}
	release <- true
	if r := waits.receive("GET"); r.StatusCode != 200 {
		t.Errorf("the request under way got %s", r.Status)
	}
	eventually(t, "no request to be in flight", func() bool { return pool.States()[0].InFlight == 0 })
	eventually(t, "its connection to be closed", func() bool { return len(closed) == 1 })
	if len(entered) > 0 {
		t.Error("a drained backend got a request")
	}
}

// What is set by hand is kept when it changes, also by a reload, and dropped with its backend, but
// not before something else is kept.
func TestSaveSettings(t *testing.T) {
	t.Parallel()
	urls := startNamed(t, 3)
	o := testOptions(urls...)
	var kept []Settings
	refuses := false
	o.ByHand = ByHand{
		Before: Settings{"main": {urls[0]: {Drained: time.Unix(1, 0)}}, "other": {urls[1]: {Weight: &upstream.Weight{Now: 5, Instead: 1}}}},
		Keep: func(s Settings) error {
			if refuses {
				return errors.New("the disk is full")
			}
			kept = append(kept, s)
			return nil
		},
	}
	before := maps.Clone(o.ByHand.Before)
	p, _ := startProxy(t, o)
	require := func(when string, saves int, want ...string) {
		t.Helper()
		if err := p.SaveSettings(); (err != nil) != refuses {
			t.Errorf("%s: saving returned %v", when, err)
		}
		if len(kept) != saves {
			t.Fatalf("%s: the settings were kept %d times, want %d", when, len(kept), saves)
		}
		var got []string
		if saves > 0 {
			for pool, backends := range kept[saves-1] {
				for url := range backends {
					got = append(got, pool+" "+string('0'+byte(slices.Index(urls, url))))
				}
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: kept are %q, want %q", when, got, want)
		}
	}
	main := func() *upstream.Pool { return p.Pools()[0] }
	require("at the start", 0)
	if s := main().States()[0]; s.State != "draining" {
		t.Errorf("at the start it is %+v", s)
	}
	without := o
	change(&without, func(c *upstream.PoolConfig) { c.Backends = c.Backends[1:] })
	p.Apply(without)
	require("without a drained backend", 0)
	p.Apply(o)
	if s := main().States()[0]; !strings.Contains(s.State, "draining") {
		t.Errorf("with it again it is %+v", s)
	}
	main().SetWeight(urls[1], 7)
	require("with a weight", 1, "main 0", "main 1")
	require("with no change", 1, "main 0", "main 1")
	refuses = true
	main().SetWeight(urls[2], 7)
	require("where it cannot be kept", 1, "main 0", "main 1")
	refuses = false
	require("where it can be kept again", 2, "main 0", "main 1", "main 2")
	p.Apply(without)
	main().Resume(urls[1])
	require("once another is kept", 3, "main 1", "main 2")
	p.Apply(o)
	if s := main().States()[0]; strings.Contains(s.State, "draining") {
		t.Error("a backend whose setting was dropped is drained")
	}
	change(&o, func(c *upstream.PoolConfig) { c.Backends[1].Weight = 3 })
	p.Apply(o)
	if len(kept) != 4 {
		t.Fatal("that the config has another weight was not kept")
	}
	require("with another weight in the config", 4, "main 2")
	if !maps.EqualFunc(before, o.ByHand.Before, func(a, b map[string]upstream.Setting) bool { return maps.Equal(a, b) }) {
		t.Error("the settings that the proxy was given have changed")
	}

	renamed := o
	renamed.Pools = map[string]upstream.PoolConfig{"renamed": o.Pools["main"]}
	p.Apply(renamed)
	p.Apply(o)
	if s := main().States()[2]; s.Weight != 7 {
		t.Errorf("after its pool was away, it is %+v", s)
	}
}
