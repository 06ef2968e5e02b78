package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// startBackend starts a fake backend in a process of its own, and waits until it serves.
func startBackend(t *testing.T, built programs, address string, flags ...string) *process {
	t.Helper()
	_, port, _ := strings.Cut(address, ":")
	p := startProcess(t, built.bench, append([]string{"servers", "--servers=1", "--start_port=" + port}, flags...)...)
	waitFor(t, "backend "+address, func() bool {
		a, _ := tryCall("GET", "http://"+address+"/healthz", "")
		return a.status == 200
	})
	return p
}

// startBackends starts one at each address.
func startBackends(t *testing.T, built programs, addresses []string, flags ...string) (backends []*process) {
	t.Helper()
	for _, address := range addresses {
		backends = append(backends, startBackend(t, built, address, flags...))
	}
	return backends
}

// setFault has a fake backend fail: see bench servers --help.
func setFault(t *testing.T, address, fault string) {
	t.Helper()
	if a := call(t, "PUT", "http://"+address+"/control", fault); a.status != 200 {
		t.Fatalf("PUT %s: %+v", fault, a)
	}
}

// requestsAt returns how many requests have come to a fake backend, by its own count.
func requestsAt(t *testing.T, address string) int {
	t.Helper()
	var state struct{ Requests int }
	a, err := tryCall("GET", "http://"+address+"/control", "")
	if err == nil {
		err = json.Unmarshal([]byte(a.body), &state)
	}
	if err != nil {
		t.Error(err)
	}
	return state.Requests
}

// requestsAtAll returns how many have come to each, all at about the same time.
func requestsAtAll(t *testing.T, addresses []string) []int {
	t.Helper()
	counts := make([]int, len(addresses))
	var asking sync.WaitGroup
	for i, address := range addresses {
		asking.Go(func() { counts[i] = requestsAt(t, address) })
	}
	asking.Wait()
	return counts
}

// startPool starts the balancer, without limits, with these keys of its pool in YAML. url is the
// proxy's.
func startPool(t *testing.T, built programs, addresses []string, keys string) (p *process, url string) {
	t.Helper()
	config := testConfig(t, addresses, "limiter: {enabled: false}\n")
	return startLB(t, built, strings.Replace(config, "    health: {path: /healthz, interval: 50ms}\n", keys, 1))
}

// loggedAt returns the time of the first log line with this message, or the zero time.
func (p *process) loggedAt(t *testing.T, message string) time.Time {
	t.Helper()
	line := p.stdout.find(message)
	if line == nil {
		return time.Time{}
	}
	at, err := time.Parse(timeFormat, line["time"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// clientFrom returns a client whose connections come from the n-th loopback address after
// 127.0.0.1.
func clientFrom(t *testing.T, n int) *http.Client {
	dialer := net.Dialer{Timeout: deadline, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+n))}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1000}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: deadline}
}

// sample is what a request of a load met.
type sample struct {
	sent   time.Time
	took   time.Duration
	status int // 0: no response
	err    error
}

// pacedLoad sends GETs at a steady rate, however long the responses take, from several addresses
// in turn, each with a header X-Client of its own.
type pacedLoad struct {
	url     string
	clients []*http.Client
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	samples []sample // guarded by mu
}

// startLoad starts a load of this many requests a second, from as many addresses as there are
// clients. It ends with the test at the latest.
func startLoad(t *testing.T, url string, rate, clients int) *pacedLoad {
	l := &pacedLoad{url: url, stop: make(chan struct{})}
	for n := range clients {
		l.clients = append(l.clients, clientFrom(t, 1+n))
	}
	l.running.Go(func() { l.pace(rate) })
	t.Cleanup(func() { l.end() })
	return l
}

func (l *pacedLoad) pace(rate int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for sent := 0; ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		for due := int(time.Since(begun) * time.Duration(rate) / time.Second); sent < due; sent++ {
			client := sent % len(l.clients)
			l.running.Go(func() { l.get(client) })
		}
	}
}

func (l *pacedLoad) get(client int) {
	r, err := http.NewRequest(http.MethodGet, l.url, nil)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	r.Header.Set("X-Client", strconv.Itoa(client))
	s := sample{sent: time.Now()}
	res, err := l.clients[client].Do(r)
	if s.err = err; err == nil {
		s.status = res.StatusCode
		_, s.err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	s.took = time.Since(s.sent)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
}

// end stops the load, waits for the responses that are due, and returns what all requests met.
func (l *pacedLoad) end() []sample {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.running.Wait()
	return l.samples
}

// summary is what matters of a load's requests.
type summary struct {
	requests, failed int
	first            string // what the first that failed met
	longest          time.Duration
}

func summarize(samples []sample) (s summary) {
	for _, m := range samples {
		s.requests++
		if m.status != 200 || m.err != nil {
			if s.failed++; s.failed == 1 {
				s.first = fmt.Sprintf("%d, %v", m.status, m.err)
			}
		}
		s.longest = max(s.longest, m.took)
	}
	return s
}

func (s summary) String() string {
	text := fmt.Sprintf("%d requests, the longest took %s, %d failed", s.requests, s.longest.Round(time.Millisecond), s.failed)
	if s.failed > 0 {
		text += ", the first with " + s.first
	}
	return text
}

// together runs tests that mostly wait at once, however few cores there are, but in their long form
// one after the other. All have ended once running.Wait returns.
type together struct {
	t       *testing.T
	running sync.WaitGroup
	free    []string // addresses that no test has yet
}

// run runs a test, to which it hands this many addresses.
func (g *together) run(name string, addresses int, test func(t *testing.T, addresses []string)) {
	own := g.free[:addresses]
	g.free = g.free[addresses:]
	if *long {
		g.t.Run(name, func(t *testing.T) { test(t, own) })
		return
	}
	g.running.Go(func() { g.t.Run(name, func(t *testing.T) { test(t, own) }) })
}
