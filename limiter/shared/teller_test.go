package shared

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/member"
	"loadbalancer/limiter/shared/redistest"
	"loadbalancer/proxy/certtest"
)

// TestExact has three instances spend the limits of clients together, which are too small for a credit.
func TestExact(t *testing.T) {
	folder := t.TempDir()
	authority := certtest.NewAuthority(t)
	certificate, key := certtest.Write(t, authority.Issue([]string{"127.0.0.1"}), folder, "server")
	for name, url := range map[string]func(t *testing.T) string{
		"port":     func(t *testing.T) string { return redistest.Start(t, redistest.Options{}).URL() },
		"socket":   func(t *testing.T) string { return redistest.Start(t, redistest.Options{Unix: true}).URL() },
		"password": func(t *testing.T) string { return redistest.Start(t, redistest.Options{Password: "p@ss/w"}).URL() },
		"rights": func(t *testing.T) string {
			server := redistest.Start(t, redistest.Options{})
			server.Do(documentedRights(t)...)
			return "redis://lb:password@" + server.Address
		},
		"rights to a named database": func(t *testing.T) string {
			server := redistest.Start(t, redistest.Options{})
			server.Do(append(documentedRights(t), "+select", "+client|setname")...)
			return "redis://lb:password@" + server.Address + "/3?client_name=lb"
		},
		"database": func(t *testing.T) string { return redistest.Start(t, redistest.Options{}).URL() + "/3" },
		"TLS": func(t *testing.T) string {
			o := redistest.Options{Certificate: certificate, Key: key}
			return redistest.Start(t, o).URL() + "?ca=" + authority.Write(folder, "ca.pem")
		},
		"sentinel": func(t *testing.T) string {
			return redistest.StartSentinel(t, redistest.Start(t, redistest.Options{Password: "secret"}), 0).URL("secret")
		},
		"cluster": func(t *testing.T) string { return redistest.StartCluster(t, 2)[0].URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := startAll(t, url(t), 3)
			for n := range 10 {
				address, capacity := fmt.Sprintf("192.0.2.%d", n), int64(1+2*n)
				set(all, address, capacity)
				if got := spend(all, address, int(2*capacity+3)); got != capacity {
					t.Errorf("capacity %d: %d admitted", capacity, got)
				}
			}
			for _, i := range all {
				if len(i.log.With("limits are shared")) == 0 {
					t.Errorf("no line says that limits are shared:\n%s", i.log)
				}
			}
		})
	}
}

// documentedRights returns the command of docs/fleet.md that gives a user all that it needs.
func documentedRights(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, command, found := strings.Cut(string(text), "\nACL SETUSER ")
	if !found {
		t.Fatal("docs/fleet.md has no ACL SETUSER")
	}
	command, _, _ = strings.Cut(command, "\n")
	return append([]string{"ACL", "SETUSER"}, strings.Fields(command)...)
}

// TestCredit has two instances spend the limit of a client once they have credit.
func TestCredit(t *testing.T) {
	t.Parallel()
	const capacity, credit = 1600, 100
	all := startAll(t, redistest.Start(t, redistest.Options{}).URL(), 2)
	set(all, "192.0.2.1", capacity)
	all[0].ask("192.0.2.1")
	for _, i := range all {
		i.waitFor("credit", func() bool {
			before := i.share.Counters().Waits
			i.ask("192.0.2.1")
			return i.share.Counters().Waits == before
		})
	}
	asked := all[0].share.Counters().Waits
	spend(all, "192.0.2.1", 2*capacity)
	if got := used(all, "192.0.2.1"); got < capacity || got > capacity+2*credit {
		t.Errorf("%d of %d admitted", got, capacity)
	}
	if waits := all[0].share.Counters().Waits - asked; waits > capacity/2 {
		t.Errorf("%d of %d requests waited", waits, capacity)
	}
}

// TestCleanEnd checks that an instance that ends tells what it has not told, and that it is gone.
func TestCleanEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	all := startAll(t, server.URL(), 2)
	set(all, "192.0.2.1", 160_000)
	all[0].waitFor("credit", func() bool {
		all[0].ask("192.0.2.1")
		return all[0].share.Counters().Waits < used(all[:1], "192.0.2.1")
	})
	spend(all[:1], "192.0.2.1", 100) // of 10,000 without telling
	all[0].stop()
	debt := parseBucket(t, server.Do("GET", "lb:client:192.0.2.1")).Debt
	if spent := float64(used(all, "192.0.2.1")); debt > spent || debt < spent-5 { // a token in six seconds is there again
		t.Errorf("the server has a debt of %v, want %v", debt, spent)
	}
	if got := server.Do("ZCARD", membersKey); got != "1" {
		t.Errorf("%s instances are left, want 1", got)
	}
	all[1].waitFor("alone", func() bool { return all[1].share.Instances() == 1 })
}

// TestEndWhileAway has the server come back, and an instance end before it has looked for that.
func TestEndWhileAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	all := startAll(t, server.URL(), 1)
	set(all, "192.0.2.1", 100)
	server.Kill()
	all[0].waitFor("away", all[0].share.IsAway)
	spent := spend(all, "192.0.2.1", 20)
	server.Restart()
	all[0].stop()
	text := server.Do("GET", "lb:client:192.0.2.1")
	if text == "" {
		t.Fatal("the server has not been told")
	}
	if debt := parseBucket(t, text).Debt; spent != 20 || debt < 19 || debt > 20 {
		t.Errorf("%d of 20 admitted, the server has a debt of %v", spent, debt)
	}
	if got := server.Do("ZCARD", membersKey); got != "0" {
		t.Errorf("%s instances are left, want none", got)
	}
}

// TestKilledInstance checks that an instance which tells nothing any more does not count for long.
func TestKilledInstance(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	all := startAll(t, server.URL(), 2)
	// As one that was killed would have: its last sign of life.
	now := time.Now()
	server.Do("ZADD", membersKey, fmt.Sprint(now.UnixMicro()), "killed")
	all[0].waitFor("three", func() bool { return all[0].share.Instances() == 3 })
	all[0].waitFor("two", func() bool { return all[0].share.Instances() == 2 })
	if after := time.Since(now); after < member.Lapse || after > member.Lapse+3*time.Second {
		t.Errorf("it counted for %s", after)
	}
	if got := all[0].log.With("another number of instances"); !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, `"instances":3`) }) {
		t.Errorf("no line tells of three instances:\n%s", all[0].log)
	}
}

// TestNoScript checks that a server which has forgotten the script gets it again.
func TestNoScript(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	all := startAll(t, server.URL(), 2)
	set(all, "192.0.2.1", 15)
	got := spend(all, "192.0.2.1", 5)
	server.Do("SCRIPT", "FLUSH")
	got += spend(all, "192.0.2.1", 5)
	server.Do("SCRIPT", "FLUSH")
	if got += spend(all, "192.0.2.1", 20); got != 15 {
		t.Errorf("%d of 15 admitted", got)
	}
	for _, i := range all {
		if late := i.share.Counters().TimedOut; late > 0 {
			t.Errorf("%d requests waited in vain", late)
		}
	}
}

// TestForeignKeys checks that keys which another program has written count as absent.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	server.Do("RPUSH", "lb:client:192.0.2.1", "a")
	server.Do("SET", "lb:client:192.0.2.2", "100")
	all := startAll(t, server.URL(), 2)
	for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
		set(all, address, 13)
		if got := spend(all, address, 30); got != 13 {
			t.Errorf("%s: %d of 13 admitted", address, got)
		}
	}
}

// TestReset has a client reset at one instance while the other one rejects all of its requests, and so
// has nothing to ask.
func TestReset(t *testing.T) {
	t.Parallel()
	all := startAll(t, redistest.Start(t, redistest.Options{}).URL(), 2)
	set(all, "192.0.2.1", 10)
	if got := spend(all, "192.0.2.1", 40); got != 10 {
		t.Fatalf("%d of 40 requests were admitted, want 10", got)
	}
	all[0].limits.Reset(limiter.ID{Prefix: netip.MustParsePrefix("192.0.2.1/32")})
	all[1].waitFor("a request is admitted after the reset", func() bool { return all[1].ask("192.0.2.1") })
	if got := spend(all, "192.0.2.1", 40); got != 9 {
		t.Errorf("%d of 40 requests more were admitted, want 9", got)
	}
}
