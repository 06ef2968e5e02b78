package proxy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"loadbalancer/limiter"
)

// TestExactlyTheCapacityPasses sends ten times the capacity in three ways. The
// rate is too small to add a token meanwhile, and what the client says of its
// address must not get it another bucket.
func TestExactlyTheCapacityPasses(t *testing.T) {
	const capacity, requests = 5, 50
	request := func(i int) string {
		return fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.%d\r\nForwarded: for=192.0.2.%d\r\nX-Real-IP: 192.0.2.%d\r\n\r\n", i, i, i)
	}
	count := func(w *rawClient, passed, rejected *atomic.Int32) {
		got, err := w.tryReceive("GET")
		switch {
		case err != nil:
			t.Error(err)
		case got.StatusCode == 200:
			passed.Add(1)
		case got.StatusCode == 429:
			rejected.Add(1)
		}
	}
	for _, test := range []struct {
		name string
		send func(address string, passed, rejected *atomic.Int32)
	}{
		{"one after the other", func(address string, passed, rejected *atomic.Int32) {
			w := newWire(t, address)
			for i := range requests {
				w.send(request(i))
				count(w, passed, rejected)
			}
		}},
		{"pipelined", func(address string, passed, rejected *atomic.Int32) {
			w := newWire(t, address)
			var all strings.Builder
			for i := range requests {
				all.WriteString(request(i))
			}
			w.send(all.String())
			for range requests {
				count(w, passed, rejected)
			}
		}},
		{"in parallel", func(address string, passed, rejected *atomic.Int32) {
			var clients sync.WaitGroup
			start := make(chan struct{})
			for i := range requests {
				w := newWire(t, address)
				clients.Go(func() {
					<-start
					w.send(request(i))
					count(w, passed, rejected)
				})
			}
			close(start)
			clients.Wait()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var passed, rejected atomic.Int32
			o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
			o.Limiter = limits(capacity, 0.001)
			p, address := startProxy(t, o)
			test.send(address, &passed, &rejected)
			if passed.Load() != capacity || rejected.Load() != requests-capacity {
				t.Errorf("%d passed and %d were rejected, want %d and %d", passed.Load(), rejected.Load(), capacity, requests-capacity)
			}
			eventually(t, "lb_limited_total", func() bool { return metric(p, "lb_limited_total") == fmt.Sprint(requests-capacity) })
		})
	}
}

// TestClientsBehindATrustedProxy have a bucket each.
func TestClientsBehindATrustedProxy(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	o.Limiter = limits(1, 0.001)
	o.Server.TrustedProxies = prefixes("127.0.0.0/8")
	_, address := startProxy(t, o)
	w := newWire(t, address)
	for _, want := range []int{200, 429} {
		for i := range 10 {
			w.send(fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.1, 192.0.2.%d\r\n\r\n", i))
			if got := w.receive("GET"); got.StatusCode != want {
				t.Errorf("client %d got %d, want %d", i, got.StatusCode, want)
			}
		}
	}
}

// TestIPv6NetworkIsOneClient, however a trusted proxy writes its addresses.
func TestIPv6NetworkIsOneClient(t *testing.T) {
	url := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	for prefix, addresses := range map[int][]struct {
		addr string
		want int
	}{
		64: {
			{"2001:db8:0:1::1", 200}, {"2001:db8:0:1:ffff:ffff:ffff:ffff", 429}, {"[2001:db8:0:1::2]:443", 429}, {"2001:0DB8::1:0:0:0:3", 429}, {"2001:db8:0:2::1", 200},
			{"192.0.2.1", 200}, {"::ffff:192.0.2.1", 429}, {"[::ffff:c000:201]:80", 429}, {"192.0.2.1:4711", 429}, {"192.0.2.2", 200}, {"2001:db8::1%eth0, 2001:db8:0:2::9", 429},
		},
		56: {{"2001:db8:0:1::1", 200}, {"2001:db8:0:2::1", 429}, {"2001:db8:0:100::1", 200}, {"192.0.2.1", 200}, {"192.0.2.2", 200}},
	} {
		config := limiter.DefaultConfig()
		config.Default.Limit, config.IPv6Prefix = limiter.Limit{Capacity: 1, RatePerSecond: 0.001}, prefix
		o := testOptions(url)
		o.Limiter = limiter.New(config)
		o.Server.TrustedProxies = prefixes("127.0.0.1")
		_, address := startProxy(t, o)
		w := newWire(t, address)
		for _, test := range addresses {
			w.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + test.addr + "\r\n\r\n")
			if got := w.receive("GET"); got.StatusCode != test.want {
				t.Errorf("/%d: %s got %d, want %d", prefix, test.addr, got.StatusCode, test.want)
			}
		}
	}
}
