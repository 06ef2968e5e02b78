package faults

import (
	"context"
	"testing"
	"time"

	"loadbalancer/bench/balancer"

	"github.com/jackc/pgx/v5"
)

// TestDataRightsOnly runs balancers as a role that may read and write the tables and nothing else.
func TestDataRightsOnly(t *testing.T) {
	t.Parallel()
	d := prepared(t, sharedCluster(t))
	d.sql(t, "CREATE ROLE app LOGIN PASSWORD 'app-pass'; "+
		"REVOKE CREATE ON SCHEMA public FROM PUBLIC; "+
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app; "+
		"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app")
	all := startBalancers(t, 2, urlOf("app", "app-pass", d.address(), d.name))
	requireQuota(t, all, seen, 7)
	all[0].must(t, 200, "PUT", "/clients/"+seen, terms(8))
	requireQuota(t, all, seen, 8)
	all[1].must(t, 201, "POST", "/clients/", at("127.0.7.30", 9))
	requireQuota(t, all, "127.0.7.30", 9)
	all[0].must(t, 204, "DELETE", "/clients/127.0.7.30", "")
	requireQuota(t, all, "127.0.7.30", defaultCapacity)
	for i, b := range all {
		if lines := b.Log.With(`"level":"error"`); len(lines) > 0 {
			t.Errorf("balancer %d: %s", i, lines)
		}
	}
	// The role changes rows by hand, too.
	if err := d.asRole("app", "app-pass", "UPDATE clients SET capacity = 10"); err != nil {
		t.Fatal(err)
	}
	requireQuota(t, all, seen, 10)
}

// TestFewConnections has a role that may have two connections only for each balancer.
func TestFewConnections(t *testing.T) {
	t.Parallel()
	d := prepared(t, newCluster(t))
	d.exec(t, "postgres", "ALTER ROLE "+role+" CONNECTION LIMIT 4")
	all := startBalancers(t, 2, d.at(d.address(), "pool_max_conns=1"))
	requireQuota(t, all, seen, 7)
	callsAtOnce(t, all)
	all[0].must(t, 200, "PUT", "/clients/"+seen, terms(8))
	requireQuota(t, all, seen, 8)
	for i, b := range all {
		if b.stale(t) {
			t.Errorf("balancer %d says that PostgreSQL is away", i)
		}
	}
}

// TestSchemaDropped takes the tables away from balancers that run. Limits stay; another that starts
// makes new tables, and all have what is in them.
func TestSchemaDropped(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, direct)
	s.sql(t, "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION "+role)
	for _, b := range s.all {
		requireUnavailable(t, b.api(t, "PUT", "/clients/"+written, terms(8)), answered+busy)
	}
	for i := range s.all {
		s.limitsHold(t, i)
	}
	s.readsGoOn(t)
	late := startBalancer(t, s.url(), options{})
	late.must(t, 201, "POST", "/clients/", at(written, 30))
	all := append(s.all, late)
	for _, b := range all {
		balancer.WaitFor(t, noticed+heals, "what is in the new tables", func() bool {
			return b.quota(t, seen) == defaultCapacity && b.quota(t, written) == 30
		})
	}
	s.healed(t)
	requireUnhurt(t, "the tables are gone", s.traffic.phase(t))
}

// asRole executes statements as another role.
func (d database) asRole(name, password, statements string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := pgx.Connect(ctx, urlOf(name, password, d.address(), d.name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// TestLockedTable starts a balancer while another session holds the table. It says so and does not wait
// forever.
func TestLockedTable(t *testing.T) {
	t.Parallel()
	d := prepared(t, sharedCluster(t))
	err := d.withConn(d.name, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE clients"); err != nil {
			return err
		}
		b := newBalancer(t, d.url(), options{clients: "  connect_timeout: 3s\n"})
		b.aliveAtOnce(t)
		balancer.WaitFor(t, 10*time.Second, "a line that tells of the lock", func() bool { return len(b.Log.With("lock")) > 0 })
		took := b.awaitServing(t)
		t.Logf("serves %s later", took.Round(time.Millisecond))
		b.tellsNoLimitHolds(t)
		requireUnavailable(t, b.api(t, "PUT", "/clients/"+seen, terms(8)), answered+busy)
		if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
			return err
		}
		b.takesTruth(t, 7)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLockedWhileItRuns has another session hold the table while balancers run. Reads go on from memory,
// and a write that was refused does not happen later.
func TestLockedWhileItRuns(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, direct)
	err := s.withConn(s.name, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE clients"); err != nil {
			return err
		}
		response := make(chan answer, 1)
		go func() {
			a, err := s.all[0].try("PUT", "/clients/"+written, terms(33))
			if err != nil {
				t.Errorf("PUT: %v", err)
			}
			response <- a
		}()
		s.readsGoOn(t)
		requireUnavailable(t, <-response, answered+busy)
		s.readsGoOn(t)
		for i := range s.all {
			s.limitsHold(t, i)
		}
		_, err := conn.Exec(ctx, "COMMIT")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.healed(t)
	requireUnhurt(t, "the table is locked", s.traffic.phase(t))
}
