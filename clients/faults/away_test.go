package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"

	"github.com/jackc/pgx/v5"
)

const (
	// noticed is how long it may take until a balancer knows that PostgreSQL is away, and answered
	// how long a write may take until then; heals is how long it may take to be as before.
	noticed  = 15 * time.Second
	answered = 3500 * time.Millisecond
	heals    = 5 * time.Second
	// busy is what a machine that does other things may add.
	busy = time.Second
)

// site is two balancers on a database, and traffic through them.
type site struct {
	database
	link    *link // to the server
	all     []*instance
	traffic *traffic
}

// newSite starts the balancers; store returns their URL.
func newSite(t *testing.T, store func(s *site) string) *site {
	t.Helper()
	return siteOn(t, newCluster(t), store)
}

// newSharedSite is newSite for a test that leaves the server alone.
func newSharedSite(t *testing.T, store func(s *site) string) *site {
	t.Helper()
	return siteOn(t, sharedCluster(t), store)
}

func siteOn(t *testing.T, c *cluster, store func(s *site) string) *site {
	t.Helper()
	s := &site{database: c.newDatabase(t)}
	s.link = newLink(t, s.address())
	s.begin(t, store(s))
	return s
}

// Clients of a site: one with a limit to be seen, one that is written to, and one that is limited.
const seen, written, limited = "127.0.7.1", "127.0.7.2", "127.0.7.3"

// begin starts the balancers and the traffic, and registers the clients.
func (s *site) begin(t *testing.T, store string) {
	t.Helper()
	s.all = startBalancers(t, 2, store)
	s.all[0].must(t, 201, "POST", "/clients/", at(seen, 7))
	s.all[0].must(t, 201, "POST", "/clients/", at(written, 20))
	s.all[1].must(t, 201, "POST", "/clients/", `{"ip_address":"`+limited+`","capacity":3,"rate_per_second":0.001}`)
	requireQuota(t, s.all, seen, 7)
	requireQuota(t, s.all, written, 20)
	requireQuota(t, s.all, limited, 3)
	s.traffic = startTraffic(t, 50, s.all...)
	s.traffic.phase(t)
}

// outage is a way in which PostgreSQL is away.
type outage struct {
	name    string
	store   func(s *site) string
	begin   func(t *testing.T, s *site) (end func()) // PostgreSQL is back when end returns
	sent    bool                                     // a statement may leave before the outage is known
	changes string                                   // statements that others execute meanwhile, if they can
}

// Rows that are changed while the balancers do not hear of it: an update, a deletion and a new row.
const (
	changedAway = "UPDATE clients SET capacity = 8 WHERE ip_address = '" + seen + "'; DELETE FROM clients WHERE ip_address = '" + limited + "'"
	emptiedAway = "TRUNCATE clients CASCADE; INSERT INTO clients (ip_address, capacity, rate_per_second, created_at, updated_at) VALUES " +
		"('" + seen + "', 8, 1, now(), now()), ('" + written + "', 20, 1, now(), now())"
)

func direct(s *site) string   { return s.url() }
func overLink(s *site) string { return s.at(s.link.address()) }

var outages = []outage{
	{"stopped", direct, func(t *testing.T, s *site) func() {
		s.stop()
		return func() { s.start(t) }
	}, false, ""},
	{"crashed", direct, func(t *testing.T, s *site) func() {
		s.crash()
		return func() { s.start(t) }
	}, false, ""},
	{"frozen", direct, func(t *testing.T, s *site) func() { return s.freeze(t) }, true, ""},
	{"silent", overLink, func(_ *testing.T, s *site) func() {
		s.link.setSilent(true)
		return func() { s.link.setSilent(false) }
	}, true, changedAway},
	{"cut", overLink, func(_ *testing.T, s *site) func() {
		s.link.cut(true)
		return func() { s.link.cut(false) }
	}, false, emptiedAway},
}

// TestAway goes through the outages. Limits hold from memory, reads answer from it and writes do
// not wait, while traffic goes on as before.
func TestAway(t *testing.T) {
	t.Parallel()
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, o.store)
			begun := time.Now()
			end := o.begin(t, s)
			responses := s.writeAtOnce(t)
			s.readsGoOn(t)
			for i, b := range s.all {
				balancer.WaitFor(t, noticed, fmt.Sprintf("balancer %d to say that PostgreSQL is away", i), func() bool { return b.stale(t) })
			}
			t.Logf("known to be away %s after it is", time.Since(begun).Round(time.Millisecond))
			s.knownAway(t)
			s.requireUnaware(t, responses, o.sent)
			for end := time.Now().Add(time.Duration(rounds(2, 60)) * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				s.readsGoOn(t)
			}
			requireUnhurt(t, o.name, s.traffic.phase(t))
			if o.changes != "" {
				s.sql(t, o.changes)
			}
			end()
			if o.changes != "" {
				requireQuota(t, s.all, seen, 8)
				requireQuota(t, s.all, limited, defaultCapacity)
			}
			s.healed(t)
			requireUnhurt(t, "it heals", s.traffic.phase(t))
			s.traffic.stop(t)
		})
	}
}

// writeAtOnce writes at each balancer, and does not wait for the responses.
func (s *site) writeAtOnce(t *testing.T) <-chan answer {
	responses := make(chan answer, len(s.all))
	for i, b := range s.all {
		go func() {
			a, err := b.try("PUT", "/clients/"+written, terms(int64(30+i)))
			if err != nil {
				t.Errorf("PUT: %v", err)
			}
			responses <- a
		}()
	}
	return responses
}

// requireUnaware checks the responses to writes that were sent right after an outage began.
func (s *site) requireUnaware(t *testing.T, responses <-chan answer, sent bool) {
	t.Helper()
	for range s.all {
		a := <-responses
		requireUnavailable(t, a, answered+busy)
		t.Logf("a write right after it: 503 after %s, outcome %q", a.took.Round(time.Millisecond), a.outcome())
		if !sent && a.outcome() == "unknown" {
			t.Errorf("nothing can have been sent: %s", a)
		}
	}
}

// outcome is that of a write that failed.
func (a answer) outcome() string {
	var problem struct{ Outcome string }
	_ = json.Unmarshal([]byte(a.body), &problem)
	return problem.Outcome
}

// requireUnavailable checks a write's 503.
func requireUnavailable(t *testing.T, a answer, within time.Duration) {
	t.Helper()
	if after, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 503 || err != nil || after < 1 || a.took > within {
		t.Errorf("got %s, want 503 with Retry-After within %s", a, within)
	}
}

// readsGoOn checks reads while it may not be known yet that PostgreSQL is away.
func (s *site) readsGoOn(t *testing.T) {
	t.Helper()
	for i, b := range s.all {
		for _, path := range []string{"/clients/" + seen, "/clients/", "/clients/" + seen + "/usage", "/limited"} {
			if a := b.api(t, "GET", path, ""); a.status != 200 || a.took > busy {
				t.Errorf("GET %s at balancer %d: %s", path, i, a)
			}
		}
	}
}

// knownAway checks all that holds while a balancer knows that PostgreSQL is away.
func (s *site) knownAway(t *testing.T) {
	t.Helper()
	for i, b := range s.all {
		for _, w := range []struct{ method, path, body string }{
			{"POST", "/clients/", at("127.0.7.9", 9)},
			{"PUT", "/clients/" + written, terms(50)},
			{"DELETE", "/clients/" + written, ""},
		} {
			a := b.api(t, w.method, w.path, w.body)
			requireUnavailable(t, a, busy)
			if a.outcome() == "unknown" {
				t.Errorf("%s at balancer %d, which knows: %s", w.method, i, a)
			}
		}
		for _, path := range []string{"/clients/" + seen, "/clients/"} {
			a := b.api(t, "GET", path, "")
			if seconds, err := strconv.ParseFloat(a.header.Get("Lb-Stale"), 64); a.status != 200 || a.took > busy || err != nil || seconds < 0 || seconds > 60 {
				t.Errorf("GET %s at balancer %d: %s", path, i, a)
			}
			a.version(t)
		}
		if a := b.api(t, "GET", "/clients/127.0.7.8", ""); a.status != 404 || a.header.Get("Lb-Stale") == "" {
			t.Errorf("GET of what does not exist at balancer %d: %s", i, a)
		}
		b.must(t, 200, "GET", "/clients/"+seen+"/usage", "")
		if got := b.metric(t, "lb_store_up"); got != "0" {
			t.Errorf("lb_store_up of balancer %d is %q", i, got)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if a := b.page(t, path); a.status != 200 {
				t.Errorf("%s of balancer %d: %s", path, i, a)
			}
		}
		s.limitsHold(t, i)
	}
}

// limitsHold checks that a balancer limits from memory.
func (s *site) limitsHold(t *testing.T, i int) {
	t.Helper()
	b := s.all[i]
	if got := b.quota(t, seen); got != 7 {
		t.Errorf("balancer %d enforces %d", i, got)
	}
	passed := 0
	for range 6 {
		a, err := b.request(limited, "GET", b.proxy+"/", "")
		switch {
		case err == nil && a.status == 200:
			passed++
		case err != nil || a.status != 429:
			t.Errorf("a limited request at balancer %d: %s, %v", i, a, err)
		}
	}
	if passed > 2 { // requireQuota took one at least
		t.Errorf("%d of 6 requests passed at balancer %d", passed, i)
	}
}

// healed waits until both balancers are as before the outage, and compares what they have.
func (s *site) healed(t *testing.T) {
	t.Helper()
	s.healedWithin(t, heals)
}

func (s *site) healedWithin(t *testing.T, limit time.Duration) {
	t.Helper()
	begun := time.Now()
	for i, b := range s.all {
		path := "/clients/" + written
		waitFor(t, fmt.Sprintf("a write at balancer %d", i), func() bool {
			a := b.api(t, "PUT", path, terms(int64(60+i)))
			if a.status != 200 && a.status != 503 {
				t.Fatalf("PUT at balancer %d: %s", i, a)
			}
			if a.status == 503 {
				time.Sleep(20 * time.Millisecond) // it has Retry-After, which is whole seconds
			}
			return a.status == 200
		})
		waitFor(t, fmt.Sprintf("balancer %d to say that PostgreSQL is back", i), func() bool {
			return !b.stale(t) && b.metric(t, "lb_store_up") == "1"
		})
	}
	requireQuota(t, s.all, written, 61)
	took := time.Since(begun)
	t.Logf("healed after %s", took.Round(time.Millisecond))
	if took > limit {
		t.Errorf("it healed in %s, want less than %s", took, limit)
	}
	if got := s.capacity(t, written); got != "61" {
		t.Errorf("the capacity in the table is %s", got)
	}
	for i, b := range s.all {
		if got := b.must(t, 200, "GET", "/clients/"+written, "").capacity(t); got != 61 {
			t.Errorf("balancer %d shows %d", i, got)
		}
	}
	// Changes are heard of again.
	s.sql(t, "UPDATE clients SET capacity = 62 WHERE ip_address = '"+written+"'")
	requireQuota(t, s.all, written, 62)
}

// TestSlow has each answer of PostgreSQL come two seconds late.
func TestSlow(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, overLink)
	s.link.setDelay(2 * time.Second)
	responses := s.writeAtOnce(t)
	for range s.all {
		s.readsGoOn(t)
		a := <-responses
		t.Logf("a write: %d after %s, outcome %q", a.status, a.took.Round(time.Millisecond), a.outcome())
		if a.status != 200 {
			requireUnavailable(t, a, answered+busy)
		}
		if a.took > answered+busy {
			t.Errorf("a write got %s", a)
		}
	}
	s.readsGoOn(t)
	for i := range s.all {
		s.limitsHold(t, i)
	}
	requireUnhurt(t, "PostgreSQL is slow", s.traffic.phase(t))
	s.link.setDelay(0)
	s.healed(t)
	requireUnhurt(t, "it heals", s.traffic.phase(t))
}

// TestUnknown has the answer to a statement stay away: it may have been executed, and the balancer
// cannot know. The reads show what came of it in the end.
func TestUnknown(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, overLink)
	response := make(chan answer, 1)
	err := s.withConn(s.name, func(ctx context.Context, conn *pgx.Conn) error {
		// The statement waits for the row until the way back is closed.
		if _, err := conn.Exec(ctx, "BEGIN; SELECT FROM clients WHERE ip_address = '"+written+"' FOR UPDATE"); err != nil {
			return err
		}
		go func() {
			a, err := s.all[0].try("PUT", "/clients/"+written, terms(41))
			if err != nil {
				t.Errorf("PUT: %v", err)
			}
			response <- a
		}()
		waitFor(t, "the statement", func() bool {
			return s.query(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+s.name+"' AND wait_event_type = 'Lock'") != "0"
		})
		s.link.setDeaf(true)
		_, err := conn.Exec(ctx, "COMMIT")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a := <-response
	requireUnavailable(t, a, answered+busy)
	if a.outcome() != "unknown" {
		t.Errorf("a statement was sent, and its answer has not come: %s", a)
	}
	stored := s.capacity(t, written)
	t.Logf("the table has a capacity of %s", stored)
	s.link.setDeaf(false)
	capacity, err := strconv.ParseInt(stored, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	requireQuota(t, s.all, written, capacity)
	t.Logf("it is enforced %s after the link is up", time.Since(begun).Round(time.Millisecond))
	s.healed(t)
	requireUnhurt(t, "an answer stays away", s.traffic.phase(t))
}

// TestLostConnections ends the balancers' connections, by the server and on the way. The next write
// does not fail: nothing of it was sent on a connection that had ended.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, overLink)
	for _, way := range []struct {
		name string
		end  func()
	}{
		{"by the server", func() { s.endSessions(t) }},
		{"on the way", s.link.drop},
	} {
		for n := range 5 {
			for _, b := range s.all {
				waitFor(t, "the connections", func() bool { return !b.stale(t) })
			}
			time.Sleep(500 * time.Millisecond) // a server that hangs up more often counts as away
			way.end()
			for i, b := range s.all {
				if a := b.api(t, "PUT", "/clients/"+written, terms(int64(100+n))); a.status != 200 {
					t.Errorf("%s, balancer %d, round %d: %s", way.name, i, n, a)
				}
			}
		}
	}
	s.healed(t)
	requireUnhurt(t, "connections end", s.traffic.phase(t))
	const most = 6 // a pool's, one that listens, and one that is on its way out
	waitFor(t, "the connections that were given up to end", func() bool {
		count, err := strconv.Atoi(s.query(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+s.name+"'"))
		return err == nil && count <= most*len(s.all)
	})
}

// TestForgotten has the connections carry nothing any more, while new ones work. The balancers
// notice by themselves, those that only listen, too.
func TestForgotten(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, overLink)
	s.link.forget()
	s.sql(t, "UPDATE clients SET capacity = 8 WHERE ip_address = '"+seen+"'")
	begun := time.Now()
	for i, b := range s.all {
		balancer.WaitFor(t, noticed+heals, fmt.Sprintf("balancer %d to hear of a change", i), func() bool { return b.quota(t, seen) == 8 })
	}
	t.Logf("a change is enforced after %s", time.Since(begun).Round(time.Millisecond))
	s.healed(t)
	requireUnhurt(t, "connections are forgotten", s.traffic.phase(t))
}

// TestChecksum changes a row in a way that leaves no trace. The balancers find it now and then.
func TestChecksum(t *testing.T) {
	if !*long {
		t.Skip("takes minutes; run it with -long")
	}
	t.Parallel()
	s := newSite(t, direct)
	s.sql(t, "SET session_replication_role = replica; UPDATE clients SET capacity = 8 WHERE ip_address = '"+seen+"'; "+
		"DELETE FROM clients WHERE ip_address = '"+limited+"'; "+insertInto+values("127.0.7.60", 60))
	begun := time.Now()
	for i, b := range s.all {
		balancer.WaitFor(t, 20*time.Minute, fmt.Sprintf("balancer %d to find the change", i), func() bool {
			time.Sleep(100 * time.Millisecond) // easy on the machine
			return b.quota(t, seen) == 8 && b.quota(t, limited) == defaultCapacity && b.quota(t, "127.0.7.60") == 60
		})
	}
	t.Logf("changes without a trace are enforced after %s", time.Since(begun).Round(time.Millisecond))
}

// TestRestarts has writers at both balancers while the server crashes and comes back. What was
// acknowledged is there afterwards.
func TestRestarts(t *testing.T) {
	t.Parallel()
	s := newSite(t, direct)
	ended := make(chan struct{})
	var wg sync.WaitGroup
	writers := make([]writer, len(s.all))
	for i, b := range s.all {
		writers[i].address = fmt.Sprintf("127.0.8.%d", i+1)
		b.must(t, 201, "POST", "/clients/", at(writers[i].address, 1))
		wg.Go(func() { writers[i].write(t, b, ended) })
	}
	end := sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
	})
	defer end()
	for range rounds(2, 20) {
		s.crash()
		s.start(t)
		s.healed(t)
	}
	end()
	for i, w := range writers {
		stored, err := strconv.ParseInt(s.capacity(t, w.address), 10, 64)
		if err != nil || stored < w.acknowledged || stored > w.sent {
			t.Errorf("the table has %d of writer %d, %v; it was acknowledged %d and sent %d", stored, i, err, w.acknowledged, w.sent)
		}
		requireQuota(t, s.all, w.address, stored)
	}
	requireUnhurt(t, "it crashes", s.traffic.phase(t))
}

// writer raises the capacity of a client of its own.
type writer struct {
	address            string
	acknowledged, sent int64
}

func (w *writer) write(t *testing.T, b *instance, ended <-chan struct{}) {
	for w.acknowledged, w.sent = 1, 1; ; {
		select {
		case <-ended:
			return
		default:
		}
		w.sent++
		a, err := b.try("PUT", "/clients/"+w.address, terms(w.sent))
		switch {
		case err == nil && a.status == 200:
			w.acknowledged = w.sent
		case err == nil && a.status == 503 && a.took < answered+busy:
			time.Sleep(10 * time.Millisecond) // it has Retry-After, which is whole seconds
		default:
			t.Errorf("a write got %s, %v", a, err)
			return
		}
	}
}

// TestShutdownFrozen ends a balancer whose PostgreSQL does not answer, with calls under way.
func TestShutdownFrozen(t *testing.T) {
	t.Parallel()
	s := newSite(t, direct)
	s.freeze(t)
	s.traffic.stop(t)
	host := strings.TrimPrefix(s.all[0].management, "http://")
	for n := range 6 {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		body := terms(70)
		_, err = fmt.Fprintf(conn, "%s /v1/api/clients/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s",
			[]string{"PUT", "GET", "DELETE"}[n%3], written, host, len(body), body)
		if err != nil {
			t.Fatal(err)
		}
	}
	took := s.all[0].end(t)
	t.Logf("ended after %s", took.Round(time.Millisecond))
	const shutdown = 2 * time.Second // server.shutdown_timeout
	if took > shutdown+answered+busy {
		t.Errorf("it ended after %s", took)
	}
}
