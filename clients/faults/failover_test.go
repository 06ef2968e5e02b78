package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
)

// pair is a site whose server has a standby.
type pair struct {
	*site
	standby *cluster
	store   string // the URL of the balancers
}

// newPair starts both servers, and the balancers once the standby follows.
func newPair(t *testing.T, store func(p *pair) string) *pair {
	t.Helper()
	s := &site{database: newCluster(t).newDatabase(t)}
	p := &pair{site: s, standby: s.cluster.standby(t)}
	s.link = newLink(t, s.address())
	p.store = store(p)
	s.begin(t, p.store)
	p.awaitReplay(t)
	return p
}

// awaitReplay waits until the standby has what the primary has.
func (p *pair) awaitReplay(t *testing.T) {
	t.Helper()
	now := p.query(t, p.name, "SELECT pg_current_wal_lsn()")
	waitFor(t, "the standby to have all", func() bool {
		return p.standby.query(t, p.name, "SELECT pg_last_wal_replay_lsn() >= '"+now+"'") == "t"
	})
}

// promoted makes the standby the site's server.
func (p *pair) promoted(t *testing.T) (old *cluster) {
	t.Helper()
	p.standby.promote(t)
	old, p.cluster = p.cluster, p.standby
	return old
}

func bothAddresses(p *pair) string { return p.at(p.address() + "," + p.standby.address()) }

// TestFailover has a standby take over in each way that is known. Without a parameter that asks for
// the primary, the balancers have to find the server that can be written to.
func TestFailover(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name  string
		store func(p *pair) string
		run   func(t *testing.T, p *pair)
		heals time.Duration // from when the new primary takes writes
	}{
		{"the address moves", func(p *pair) string { return overLink(p.site) }, func(t *testing.T, p *pair) {
			p.crash()
			p.promoted(t)
			p.link.pointAt(p.address())
		}, heals},
		{"the other address", bothAddresses, func(t *testing.T, p *pair) {
			p.crash()
			p.promoted(t)
		}, heals},
		{"the other address, the first one frozen", bothAddresses, func(t *testing.T, p *pair) {
			p.freeze(t)
			p.promoted(t)
		}, heals + busy},
		{"demoted to a standby", bothAddresses, func(t *testing.T, p *pair) {
			p.stop()
			p.promoted(t).follow(t, p.cluster)
		}, heals},
		{"demoted under its connections", bothAddresses, func(t *testing.T, p *pair) {
			old := p.promoted(t)
			old.exec(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
			old.exec(t, "postgres", "SELECT pg_reload_conf()")
			waitFor(t, "the old primary to be read-only", func() bool { return old.query(t, p.name, "SHOW default_transaction_read_only") == "on" })
		}, heals},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, way.store)
			way.run(t, p)
			p.healedWithin(t, way.heals)
			requireUnhurt(t, way.name, p.traffic.phase(t))
			p.traffic.stop(t)
			// One that starts now finds the primary, too.
			late := startBalancer(t, p.store, options{})
			requireQuota(t, []*instance{late}, written, 62)
			late.must(t, 200, "PUT", "/clients/"+written, terms(63))
			requireQuota(t, p.all, written, 63)
		})
	}
}

// TestReadOnly has the only server refuse writes for a while. Reads are true, writes get 503, and
// the server may be written to again on its connections.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, direct)
	setReadOnly := func(to string) {
		s.exec(t, "postgres", "ALTER DATABASE "+s.name+" SET default_transaction_read_only = "+to)
		s.endSessions(t)
	}
	setReadOnly("on")
	for _, b := range s.all {
		requireUnavailable(t, b.api(t, "PUT", "/clients/"+written, terms(30)), answered+busy)
		balancer.WaitFor(t, noticed, "a balancer to say that PostgreSQL is away", func() bool { return b.stale(t) })
	}
	s.knownAway(t)
	setReadOnly("off")
	s.healed(t)
	requireUnhurt(t, "it is read-only", s.traffic.phase(t))
}

// TestFailoverWithLoss promotes a standby that lacks the last changes. The balancers end up with
// what the new primary has, whether its version is a lower one than theirs or, with changes of its
// own, a higher one.
func TestFailoverWithLoss(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]int{"at a lower version": 0, "at a higher version": 9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, func(p *pair) string { return overLink(p.site) })
			p.standby.stop()
			var lost []string // the ETags of states that the new primary has not seen
			for n := range 3 {
				lost = append(lost, p.all[0].must(t, 200, "PUT", "/clients/"+written, terms(int64(30+n))).header.Get("ETag"))
			}
			p.all[1].must(t, 201, "POST", "/clients/", at("127.0.9.1", 91))
			requireQuota(t, p.all, written, 32)
			requireQuota(t, p.all, "127.0.9.1", 91)
			p.link.cut(true)
			p.crash()
			p.standby.start(t)
			p.promoted(t)
			for n := range changes {
				p.sql(t, fmt.Sprintf("UPDATE clients SET capacity = %d WHERE ip_address = '%s'", 200+n, seen))
			}
			p.link.pointAt(p.address())
			p.link.cut(false)
			begun := time.Now()
			for i, b := range p.all {
				balancer.WaitFor(t, heals+busy, fmt.Sprintf("balancer %d to have the older state", i), func() bool {
					return b.quota(t, written) == 20 && b.quota(t, "127.0.9.1") == defaultCapacity
				})
				if want := int64(200 + changes - 1); changes > 0 && b.quota(t, seen) != want {
					t.Errorf("balancer %d enforces %d, want %d", i, b.quota(t, seen), want)
				}
			}
			t.Logf("the state of the new primary holds after %s", time.Since(begun).Round(time.Millisecond))
			for n := 0; n < 10; { // by then it has counted past the versions that are lost
				if a := p.all[0].api(t, "PUT", "/clients/"+written, terms(300)); a.status != 200 {
					continue // the connection may be in the making
				}
				n++
				for _, tag := range lost {
					p.all[0].must(t, 412, "PUT", "/clients/"+written, terms(301), "If-Match: "+tag)
				}
			}
			p.healed(t)
			requireUnhurt(t, "a standby takes over that lacks changes", p.traffic.phase(t))
		})
	}
}

// passfile is the file that the password of a URL is in.
type passfile string

func newPassfile(t *testing.T) passfile { return passfile(filepath.Join(t.TempDir(), "pgpass")) }

func (f passfile) write(t *testing.T, password string) {
	t.Helper()
	temporary := string(f) + ".new"
	if err := os.WriteFile(temporary, []byte("127.0.0.1:*:*:"+role+":"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, string(f)); err != nil {
		t.Fatal(err)
	}
}

// TestPasswordRotated changes the password of the role. A balancer reads the passfile anew when it
// connects.
func TestPasswordRotated(t *testing.T) {
	t.Parallel()
	file := newPassfile(t)
	file.write(t, rolePassword)
	s := newSite(t, func(s *site) string {
		return "postgres://" + role + "@" + s.address() + "/" + s.name + "?sslmode=disable&passfile=" + string(file)
	})
	rotate := func(password string) {
		s.exec(t, "postgres", "ALTER ROLE "+role+" PASSWORD '"+password+"'")
	}
	// As it is done with care: nothing is noticed.
	rotate("second password")
	file.write(t, "second password")
	s.endSessions(t)
	for i, b := range s.all {
		if a := b.api(t, "PUT", "/clients/"+written, terms(30)); a.status != 200 {
			t.Errorf("after a rotation balancer %d: %s", i, a)
		}
	}
	// The file comes last: an outage, which no balancer may end for.
	rotate("third password")
	s.endSessions(t)
	for _, b := range s.all {
		balancer.WaitFor(t, noticed, "a balancer to say that PostgreSQL is away", func() bool { return b.stale(t) })
	}
	s.knownAway(t)
	file.write(t, "third password")
	s.healed(t)
	requireUnhurt(t, "the password is rotated", s.traffic.phase(t))
	for i, b := range s.all {
		if b.HasEnded() {
			t.Errorf("balancer %d has ended", i)
		}
		if lines := b.Log.With("third password"); len(lines) > 0 {
			t.Errorf("balancer %d tells the password: %s", i, lines)
		}
	}
}
