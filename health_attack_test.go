package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// startAttacked starts three backends that work. The first has pages at which requests fail: /broken
// answers 500, /crash resets, /poll answers after a minute. The others answer these at once, so that
// the first stands out.
func startAttacked(t *testing.T) (addresses []string) {
	return []string{startWithPages(t, true), startWithPages(t, false), startWithPages(t, false)}
}

func startWithPages(t *testing.T, fail bool) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if !fail {
			path = "/"
		}
		switch path {
		case "/broken":
			w.WriteHeader(500)
		case "/crash":
			panic(http.ErrAbortHandler)
		case "/poll":
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// attack is what a client does over and over until ctx ends.
type attack struct {
	name, method, path string
	atOnce             int           // requests
	pause              time.Duration // of each, after a response
	gives              time.Duration // up, after that; 0: never
	body               func() io.Reader
}

var attacks = []attack{
	{name: "a broken page", method: "GET", path: "/broken", atOnce: 4, pause: 20 * time.Millisecond},
	{name: "a page that resets", method: "POST", path: "/crash", atOnce: 4, pause: 20 * time.Millisecond},
	{name: "long polls", method: "GET", path: "/poll", atOnce: 100},
	{name: "long polls that it leaves", method: "GET", path: "/poll", atOnce: 50, gives: 500 * time.Millisecond},
	{name: "slow uploads", method: "PUT", path: "/", atOnce: 100, body: func() io.Reader { return &trickle{left: 1 << 10} }},
	{name: "uploads that it breaks off", method: "POST", path: "/", atOnce: 50, gives: 500 * time.Millisecond, body: func() io.Reader { return &trickle{left: 1 << 10} }},
}

// trickle is a body that gives a byte every 50 ms.
type trickle struct{ left int }

// Read implements io.Reader.
func (b *trickle) Read(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, io.EOF
	}
	time.Sleep(50 * time.Millisecond)
	p[0] = 'x'
	return 1, nil
}

// run attacks with the client, and returns once ctx has ended.
func (a *attack) run(ctx context.Context, c *http.Client, url string) {
	var attackers sync.WaitGroup
	for range a.atOnce {
		attackers.Go(func() {
			for ctx.Err() == nil {
				a.send(ctx, c, url)
			}
		})
	}
	attackers.Wait()
}

func (a *attack) send(ctx context.Context, c *http.Client, url string) {
	one, cancel := ctx, context.CancelFunc(func() {})
	if a.gives > 0 {
		one, cancel = context.WithTimeout(ctx, a.gives)
	}
	defer cancel()
	var body io.Reader
	if a.body != nil {
		body = a.body()
	}
	r, err := http.NewRequestWithContext(one, a.method, url+a.path, body)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if res, err := c.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	select {
	case <-ctx.Done():
	case <-time.After(max(a.pause, time.Millisecond)):
	}
}

// testAttacker has one client do all it can for the ejection of backends that serve another: none
// is ejected, and the other is served.
func testAttacker(t *testing.T, built programs) {
	all := together{t: t}
	defer all.running.Wait()
	for _, a := range attacks {
		all.run(a.name, 0, func(t *testing.T, _ []string) { requireNoEjection(t, built, "", true, a) })
	}
	timesOut := attack{name: "requests that time out", method: "GET", path: "/poll", atOnce: 50}
	all.run(timesOut.name, 0, func(t *testing.T, _ []string) {
		bound := "2s" // longer than what else runs here holds up the requests of the other client
		if *long {
			bound = "500ms"
		}
		requireNoEjection(t, built, "    timeouts: {response_header: "+bound+"}\n", false, timesOut)
	})
	all.run("all of these", 0, func(t *testing.T, _ []string) {
		requireNoEjection(t, built, "    timeouts: {response_header: 5s}\n", true, attacks...)
	})
}

// polls is what the other client does beside its requests: one that takes long.
var polls = attack{method: "GET", path: "/poll", atOnce: 1, gives: 3 * time.Second}

// requireNoEjection attacks three backends from one address, while another sends three requests a
// second, one to each backend, and, if otherPolls, polls.
func requireNoEjection(t *testing.T, built programs, keys string, otherPolls bool, attacks ...attack) {
	lb, url := startPool(t, built, startAttacked(t), keys)
	other := startLoad(t, url, 3, 1)
	time.Sleep(1500 * time.Millisecond)
	lasts := 5 * time.Second
	if *long {
		lasts = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var running sync.WaitGroup
	if otherPolls {
		running.Go(func() { polls.run(ctx, other.clients[0], url) })
	}
	for i := range attacks {
		c := clientFrom(t, 99)
		running.Go(func() { attacks[i].run(ctx, c, url) })
	}
	running.Wait()
	got := summarize(other.end())
	t.Logf("the other client: %s", got)
	failed := *long && got.failed > 0 // too much may run beside the short form
	if failed || strings.Contains(lb.stdout.String(), "backend is ejected") {
		t.Error("want every request of the other client served, and no ejection")
	}
}

// testAttackers is the same with several clients: what they meet is the backend's doing, as far as
// the balancer can know.
func testAttackers(t *testing.T, built programs) {
	all := together{t: t}
	defer all.running.Wait()
	for _, a := range attacks[:3] {
		all.run(a.name, 0, func(t *testing.T, _ []string) {
			lb, url := startPool(t, built, startAttacked(t), balanceKeys("round_robin"))
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			for n := range 16 {
				c := clientFrom(t, 1+n)
				running.Go(func() { a.run(ctx, c, url) })
			}
			waitFor(t, "an ejection", func() bool { return lb.stdout.find("backend is ejected") != nil })
			cancel()
			running.Wait()
		})
	}
}
