package proxy

import (
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/http1"
)

// startAtTimes serves a proxy for which each request has come at the time that is set.
func startAtTimes(t *testing.T, o Options) (at *atomic.Pointer[time.Time], address string) {
	t.Helper()
	at = new(atomic.Pointer[time.Time])
	p := New(o)
	p.server = http1.NewServer(http1.Options{
		ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ShutdownTimeout: time.Second, MaxHeaderSize: 16 << 10,
		Proxied: p.isProxied, Log: zerolog.Nop(),
		Handle: func(s *http1.Stream) {
			s.Started = *at.Load()
			p.handle(s)
		},
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveUntilEnd(t, p, ln)
	return at, ln.Addr().String()
}

// TestRetryAfterIsExact: one millisecond before the instant at which the next token
// comes a retry is rejected, at it admitted, and so it is after the whole seconds of
// Retry-After, which are not one too many.
func TestRetryAfterIsExact(t *testing.T) {
	url := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	for _, test := range []struct {
		rate    float64
		wait    time.Duration // for one token
		seconds int           // the same, as Retry-After says it
	}{
		{0.1, 10 * time.Second, 10},
		{0.3, 3333333334 * time.Nanosecond, 4}, // the first nanosecond that is not before the instant
		{0.5, 2 * time.Second, 2},
		{0.7, 1428571429 * time.Nanosecond, 2},
		{1, time.Second, 1},
		{7, 142857143 * time.Nanosecond, 1},
		{500, 2 * time.Millisecond, 1},
	} {
		o := testOptions(url)
		const capacity = 3
		o.Limiter = limits(capacity, test.rate)
		at, address := startAtTimes(t, o)
		w := newWire(t, address)
		t0 := time.Now().Add(time.Hour)
		expect := func(after time.Duration, want int) answer {
			t.Helper()
			now := t0.Add(after)
			at.Store(&now)
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			got := w.receive("GET")
			if got.StatusCode != want {
				t.Errorf("%v per second: %d after %s, want %d", test.rate, got.StatusCode, after, want)
			}
			return got
		}
		for range capacity {
			expect(0, 200)
		}
		if got := expect(0, 429).Header.Get("Retry-After"); got != strconv.Itoa(test.seconds) {
			t.Errorf("%v per second: Retry-After is %q, want %d", test.rate, got, test.seconds)
		}
		expect(test.wait-time.Millisecond, 429)
		expect(test.wait-1, 429)
		expect(test.wait, 200)
		got := expect(test.wait, 429)
		wait, _ := strconv.Atoi(got.Header.Get("Retry-After"))
		expect(test.wait+time.Duration(wait)*time.Second, 200)
	}
}

// TestRetryAfterOnTheWire waits as a client would. The clock runs while a request
// is on its way, so its instant is known to lie between two times only; a retry
// that has come a millisecond before the first of them is too early for certain.
func TestRetryAfterOnTheWire(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	const token = time.Second
	o.Limiter = limits(1, 1)
	_, address := startProxy(t, o)
	w := newWire(t, address)
	ask := func() (got answer, sent, received time.Time) {
		sent = time.Now()
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		got = w.receive("GET")
		return got, sent, time.Now()
	}
	for try := 1; ; try++ {
		got, first, _ := ask()
		if got.StatusCode != 200 {
			t.Fatalf("the first request got %d", got.StatusCode)
		}
		rejected, _, received := ask()
		if received.Sub(first) < token && rejected.StatusCode != 429 {
			t.Errorf("the second request got %d", rejected.StatusCode)
		}
		time.Sleep(time.Until(first.Add(token - 3*time.Millisecond)))
		early, _, late := ask()
		if early.StatusCode != 429 {
			if late.Sub(first) <= token-time.Millisecond {
				t.Errorf("%s after the first request got %d", late.Sub(first), early.StatusCode)
			}
			if try == 5 {
				t.Fatalf("a request took more than 3 ms, %d times", try)
			}
			time.Sleep(time.Until(late.Add(token))) // it was too late to be early, and has the token
			continue
		}
		seconds, err := strconv.Atoi(rejected.Header.Get("Retry-After"))
		if err != nil || seconds != 1 {
			t.Fatalf("Retry-After is %q", rejected.Header.Get("Retry-After"))
		}
		time.Sleep(time.Until(received.Add(time.Duration(seconds) * time.Second)))
		if got, _, _ := ask(); got.StatusCode != 200 {
			t.Errorf("after the %d s of Retry-After: got %d", seconds, got.StatusCode)
		}
		return
	}
}
