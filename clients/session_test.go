package clients

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

// TestManyChanges has 10,000 rows change in a second, in batches.
func TestManyChanges(t *testing.T) {
	cfg := postgresConfig(t)
	service, _ := startService(t, cfg, testLimiter(), keysAreRead, zerolog.Nop())
	records := service.usecase.keeper()
	at := records.Position()
	written := make(chan time.Duration, 1)
	go func() {
		defer close(written)
		conn, err := pgx.Connect(t.Context(), cfg.Store)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(t.Context())
		began, ticks := time.Now(), time.NewTicker(10*time.Millisecond)
		defer ticks.Stop()
		for batch := range 100 {
			<-ticks.C
			_, err := conn.Exec(t.Context(), fmt.Sprintf("INSERT INTO clients (ip_address, capacity, rate_per_second) "+
				"SELECT ('10.0.%d.' || n)::cidr, 5, 1 FROM generate_series(1, 100) n", batch))
			if err != nil {
				t.Error(err)
				return
			}
		}
		written <- time.Since(began)
	}()
	deltas, end := 0, at.Version+100
	eventually(t, "all rows have come", func() bool {
		if now := records.Position(); now != at {
			at = now
			deltas++
		}
		return at.Version == end
	})
	took := <-written
	t.Logf("%d deltas of 100 batches in %s", deltas, took)
	if most := int(20*took.Seconds()) + 1; deltas > most || deltas < 2 {
		t.Errorf("%d deltas in %s, want at most %d", deltas, took, most)
	}
}

// TestChangesThatTakeLong has changes that cannot be read in the time of an answer, and a look for
// changes that waits for others to be enforced. PostgreSQL does not count as away meanwhile.
func TestChangesThatTakeLong(t *testing.T) {
	cfg := postgresConfig(t)
	var log bytes.Buffer
	lim := limiter.New(limiter.DefaultConfig())
	service, stop := startService(t, cfg, lim, keysAreRead, zerolog.New(zerolog.SyncWriter(&log)))
	a := &api{t: t, limiter: lim}
	pgtest.Exec(t, cfg.Store, "INSERT INTO plans (name, capacity, rate_per_second) VALUES ('gold', 11, 1); "+
		"INSERT INTO clients (ip_address, plan) VALUES ('10.0.0.1', 'gold')")
	eventually(t, "the client has come", func() bool { return a.capacityOf("10.0.0.1") == 11 })
	up := func(what string, done func() bool) {
		t.Helper()
		eventually(t, what, func() bool {
			if !service.Up() {
				t.Fatal("PostgreSQL counts as away")
			}
			return done()
		})
	}

	conn, err := pgx.Connect(t.Context(), cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for held := time.Hour; held > 2800*time.Millisecond; { // else the look may have failed by lock_timeout
		if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		pgtest.Exec(t, cfg.Store, "UPDATE plans SET capacity = 12 WHERE name = 'gold'")
		time.Sleep(answerTimeout + 200*time.Millisecond)
		if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
			t.Fatal(err)
		}
		held = time.Since(began)
	}
	up("the change is enforced", func() bool { return a.capacityOf("10.0.0.1") == 12 })

	applying := service.usecase.keeper().(*followed).applying
	if err := applying.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, cfg.Store, "UPDATE plans SET capacity = 13 WHERE name = 'gold'")
	began := time.Now()
	up("others are enforced", func() bool { return time.Since(began) > answerTimeout+beat })
	applying.give()
	up("the change is enforced", func() bool { return a.capacityOf("10.0.0.1") == 13 })
	stop()
	if strings.Contains(log.String(), "does not answer") {
		t.Error(log.String())
	}
}
