package shared

import (
	"net"
	"strings"
	"testing"
	"time"

	"loadbalancer/bench/nettest"
	"loadbalancer/limiter/shared/member"
	"loadbalancer/limiter/shared/redistest"
)

// TestAway takes the server away from two instances amid the spending of a limit, and gives it back.
// With what they let through meanwhile, which is their part, the limit holds; and no request waits
// for longer than it may.
func TestAway(t *testing.T) {
	const credit = 6 // of 100 among two
	for name, c := range map[string]struct {
		away, back func(server *redistest.Server, g *nettest.Gate)
		cause      string
		lost       bool // the data
	}{
		"killed": {
			away:  func(server *redistest.Server, _ *nettest.Gate) { server.Kill() },
			back:  func(server *redistest.Server, _ *nettest.Gate) { server.Restart() },
			cause: "the connection broke", lost: true,
		},
		"frozen": {
			away:  func(server *redistest.Server, _ *nettest.Gate) { server.Freeze() },
			back:  func(server *redistest.Server, _ *nettest.Gate) { server.Thaw() },
			cause: "it does not answer in time",
		},
		"partitioned": {
			away:  func(_ *redistest.Server, g *nettest.Gate) { g.Freeze() },
			back:  func(_ *redistest.Server, g *nettest.Gate) { g.Thaw() },
			cause: "it does not answer in time",
		},
		"answers lost": {
			away:  func(_ *redistest.Server, g *nettest.Gate) { g.FreezeAnswers() },
			back:  func(_ *redistest.Server, g *nettest.Gate) { g.Thaw() },
			cause: "it does not answer in time",
		},
		"slow": {
			away:  func(_ *redistest.Server, g *nettest.Gate) { g.Delay(2 * hasty) },
			back:  func(_ *redistest.Server, g *nettest.Gate) { g.Delay(0) },
			cause: "answer", // later than limiter.share_wait, or not in time
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			g := nettest.NewGate(t, "tcp", server.Address)
			all := startAll(t, "redis://"+g.Address, 2)
			set(all, "192.0.2.1", 100)
			if got := spend(all, "192.0.2.1", 20); got != 20 {
				t.Fatalf("%d of 20 admitted", got)
			}
			for _, i := range all {
				i.share.SetWait(hasty)
			}
			c.away(server, g)
			for _, i := range all {
				if took := i.waitUntilAway("192.0.2.1"); took > 4*hasty {
					t.Errorf("each request waited for %s or more", took)
				}
				i.waitFor("told", func() bool { return len(i.log.With("Redis is away")) > 0 })
			}
			whileAway := used(all, "192.0.2.1")
			began := time.Now()
			spend(all, "192.0.2.1", 300)
			if took := time.Since(began); took > time.Second {
				t.Errorf("300 requests took %s", took)
			}
			// An instance's part of what is left: half, by what it knew, which is all but the last turn.
			if got := used(all, "192.0.2.1"); got == whileAway || got > 100+2*credit {
				t.Errorf("%d of 100 admitted, %d of them until the server was away", got, whileAway)
			}
			for _, i := range all {
				i.share.SetWait(patient)
			}
			c.back(server, g)
			for _, i := range all {
				i.waitUntilBack()
			}
			// Of what is restored and then added to, the last token known to one of them may not show.
			waitUntilTold(all, server, "192.0.2.1", 1)
			spend(all, "192.0.2.1", 300)
			if got := used(all, "192.0.2.1"); got < 95 || got > 100+2*credit {
				t.Errorf("%d of 100 admitted", got)
			}
			for _, i := range all {
				if got := i.log.With("Redis is away"); len(got) > 2 || !strings.Contains(got[0], c.cause) {
					t.Errorf("the log says %q", got)
				}
				if got := i.log.With("Redis is back"); len(got) != 1 {
					t.Errorf("the log says %q", got)
				}
				if got := i.log.With("lost data"); (len(got) > 0) != c.lost {
					t.Errorf("the log says %q", got)
				}
			}
		})
	}
}

// hasty is the longest wait of a request while the server is away. It is set then only: a machine
// that is busy with other tests is slow.
const hasty = 10 * time.Millisecond

// TestStartWithout starts instances before the server.
func TestStartWithout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	server.Kill()
	i := start(t, server.URL())
	set([]*instance{i}, "192.0.2.1", 15)
	if got := spend([]*instance{i}, "192.0.2.1", 10); got != 10 {
		t.Errorf("without a server, %d of 10 admitted", got)
	}
	i.waitFor("told", func() bool { return len(i.log.With("connection refused")) == 1 })
	time.Sleep(retryEvery + dialTimeout)
	if got := i.log.With("away"); len(got) != 1 {
		t.Errorf("the same cause is told %d times: %q", len(got), got)
	}
	server.Restart()
	i.waitUntilBack()
	all := []*instance{i, start(t, server.URL())}
	set(all[1:], "192.0.2.1", 15)
	all[1].waitUntilBack()
	waitUntilTold(all, server, "192.0.2.1", 0)
	spend(all, "192.0.2.1", 30)
	if got := used(all, "192.0.2.1"); got != 15 {
		t.Errorf("%d of 15 admitted", got)
	}
}

// TestFlushed has the server lose its data.
func TestFlushed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	all := startAll(t, server.URL(), 2)
	set(all, "192.0.2.1", 15)
	spend(all, "192.0.2.1", 10)
	server.Do("FLUSHALL")
	for _, i := range all {
		i.waitFor("told", func() bool { return len(i.log.With("lost data")) == 1 })
	}
	waitUntilTold(all, server, "192.0.2.1", 0)
	spend(all, "192.0.2.1", 30)
	if got := used(all, "192.0.2.1"); got != 15 {
		t.Errorf("%d of 15 admitted", got)
	}
	time.Sleep(2 * member.Every)
	for _, i := range all {
		if lines := i.log.With("lost data"); len(lines) != 1 {
			t.Errorf("the log says %q", lines)
		}
	}
}

// TestFailover has a replica take over that lacks the last tellings, behind an address that moves.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t, redistest.Options{})
	replica := redistest.Start(t, redistest.Options{ReplicaOf: primary})
	g := nettest.NewGate(t, "tcp", primary.Address)
	all := startAll(t, "redis://"+g.Address, 2)
	set(all, "192.0.2.1", 15)
	spend(all, "192.0.2.1", 6)
	replica.Freeze()
	spend(all, "192.0.2.1", 6)
	primary.Kill()
	replica.Thaw()
	replica.Promote()
	g.Redirect("tcp", replica.Address)
	for _, i := range all {
		i.waitFor("lost", func() bool { return len(i.log.With("lost data")) == 1 })
		i.waitUntilBack()
	}
	waitUntilTold(all, replica, "192.0.2.1", 0)
	spend(all, "192.0.2.1", 30)
	if got := used(all, "192.0.2.1"); got != 15 {
		t.Errorf("%d of 15 admitted", got)
	}
}

// TestSentinelFailover has a sentinel replace the primary.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t, redistest.Options{})
	replica := redistest.Start(t, redistest.Options{ReplicaOf: primary})
	sentinel := redistest.StartSentinel(t, primary, 1)
	all := startAll(t, sentinel.URL(""), 2)
	set(all, "192.0.2.1", 15)
	spend(all, "192.0.2.1", 6)
	primary.Kill()
	for _, i := range all {
		i.share.SetWait(hasty)
		i.waitUntilAway("")
	}
	whileAway := spend(all, "192.0.2.1", 50)
	for _, i := range all {
		i.share.SetWait(patient)
		i.waitUntilBack()
	}
	if !strings.Contains(replica.Do("ROLE"), "master") {
		t.Error("the replica is none that was promoted")
	}
	// The last telling may have been lost. One instance knows of it, and restores that debt, but it does
	// not show where the other one has told before what it has let through meanwhile.
	waitUntilTold(all, replica, "192.0.2.1", 1)
	spend(all, "192.0.2.1", 30)
	if got := used(all, "192.0.2.1"); whileAway == 0 || got < 15 || got > 16 {
		t.Errorf("%d of 15 admitted, %d of them while the server was away", got, whileAway)
	}
}

// TestNoServer connects to what is no server to be used, and finds the cause in the log, once, and
// no password.
func TestNoServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Password: "secret"})
	server.Do("ACL", "SETUSER", "weak", "on", ">secret", "~*", "+@all", "-eval")
	open := redistest.Start(t, redistest.Options{})
	renamed := redistest.Start(t, redistest.Options{Arguments: []string{"--rename-command", "AUTH", ""}})
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			conn, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	t.Run("causes", func(t *testing.T) {
		for name, c := range map[string]struct{ url, cause string }{
			"no password":    {"redis://" + server.Address, "limiter.share lacks a password"},
			"wrong password": {"redis://:seCret2@" + server.Address, "the user or the password of limiter.share is wrong"},
			"wrong user":     {"redis://other:seCret2@" + server.Address, "the user or the password of limiter.share is wrong"},
			"weak user":      {"redis://weak:secret@" + server.Address, "the user of limiter.share lacks a right"},
			"no AUTH":        {"redis://:secret@" + renamed.Address + "?protocol=2", "unknown command 'AUTH'"},
			"no database":    {"redis://" + open.Address + "/99", "no database of the number"},
			"no TLS":         {"rediss://" + open.Address, "the TLS handshake fails"},
			"no Redis":       {"redis://" + web.Addr().String(), "what answers there is no Redis"},
			"no sentinel":    {"redis://" + open.Address + "?master_set=buckets", "SENTINEL"},
			"nothing":        {"redis://127.0.0.1:1", "dial 127.0.0.1:1: connect: connection refused"},
			"no socket":      {"unix:///nonexistent/socket", "no such file or directory"},
			"no name":        {"redis://nonexistent.invalid", "no such host"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				i := start(t, c.url)
				i.waitFor("told", func() bool { return len(i.log.With("Redis is away")) > 0 })
				time.Sleep(retryEvery + dialTimeout)
				i.stop()
				text := i.log.String()
				if strings.Count(text, "\n") != 1 || !strings.Contains(text, c.cause) {
					t.Errorf("the log says %s, want one line with %q", text, c.cause)
				}
				if strings.Contains(strings.ToLower(text), "secret") {
					t.Errorf("the log tells the password: %s", text)
				}
			})
		}
	})
}
