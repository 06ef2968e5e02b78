package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/limiter"
)

const batch = 1000

// manyClients returns a batch of clients: addresses, or names with a key.
func manyClients(number int, named bool) []Client {
	clients := make([]Client, batch)
	for i := range clients {
		n := uint32(number*batch + i)
		id := limiter.ID{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n))), 32)}
		if named {
			id = limiter.ID{Name: fmt.Sprintf("client-%08d", n)}
		}
		clients[i] = Client{
			ID:        id,
			Own:       limiter.Terms{Limit: limiter.Limit{Capacity: 100, RatePerSecond: 10.5}},
			CreatedAt: someTime(1),
			UpdatedAt: someTime(2),
		}
		if named {
			clients[i].Keys = []Key{{ID: "k1", Digest: sha256.Sum256([]byte(id.Name)), CreatedAt: someTime(1)}}
		}
	}
	return clients
}

// serverCPU returns the CPU time that the only connection of the pool has cost the server.
func serverCPU(b *testing.B, p *Postgres) time.Duration {
	var pid int64
	err := p.on(b.Context(), func(conn *pgx.Conn) error {
		pid = int64(conn.PgConn().PID())
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("the server is not on this machine")
	}
	_, behind, _ := strings.Cut(string(stat), ") ")
	values := strings.Fields(behind)
	const userTime, systemTime, tick = 11, 12, 10 * time.Millisecond
	user, _ := strconv.Atoi(values[userTime])
	system, _ := strconv.Atoi(values[systemTime])
	return time.Duration(user+system) * tick
}

// countingSink counts the clients that are loaded.
type countingSink struct {
	b       testing.TB
	clients int
}

func (s *countingSink) Begin(Position, []Plan) error { return nil }
func (s *countingSink) Client(Client) error          { s.clients++; return nil }
func (s *countingSink) Bad(bad Bad)                  { s.b.Error(bad.Err) }

func eachKind(b *testing.B, bench func(b *testing.B, named bool)) {
	for name, named := range map[string]bool{"addresses": false, "names": true} {
		b.Run(name, func(b *testing.B) { bench(b, named) })
	}
}

// BenchmarkPostgresPut imports a batch of 1,000 new clients in one transaction.
func BenchmarkPostgresPut(b *testing.B) {
	eachKind(b, func(b *testing.B, named bool) {
		p := openPostgresURL(b, pgtest.NewDatabase(b), testBounds)
		number, before := 0, serverCPU(b, p)
		for b.Loop() {
			clients := manyClients(number, named)
			if _, err := p.Write(b.Context(), func(tx Tx) error { return tx.Put(clients) }); err != nil {
				b.Fatal(err)
			}
			number++
		}
		b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "clients/s")
		b.ReportMetric(float64(batch*b.N)/(serverCPU(b, p)-before).Seconds(), "clients/server-CPU-s")
	})
}

// BenchmarkPostgresMillion loads 1,000,000 clients, asks for their checksum, and for the delta of
// one batch.
func BenchmarkPostgresMillion(b *testing.B) {
	eachKind(b, func(b *testing.B, named bool) {
		p := openPostgresURL(b, pgtest.NewDatabase(b), testBounds)
		start := time.Now()
		for number := range 1_000_000 / batch {
			if _, err := p.Write(b.Context(), func(tx Tx) error { return tx.Put(manyClients(number, named)) }); err != nil {
				b.Fatal(err)
			}
		}
		b.Logf("imported at %.0f clients/s", 1_000_000/time.Since(start).Seconds())
		at, _, err := p.Checksum(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.Run("load", func(b *testing.B) {
			before := serverCPU(b, p)
			defer func() { b.ReportMetric((serverCPU(b, p)-before).Seconds()/float64(b.N), "server-CPU-s/op") }()
			b.ReportAllocs()
			for b.Loop() {
				count := countingSink{b: b}
				if err := p.Load(b.Context(), &count); err != nil || count.clients != 1_000_000 {
					b.Fatal(count.clients, err)
				}
			}
		})
		b.Run("checksum", func(b *testing.B) {
			before := serverCPU(b, p)
			defer func() { b.ReportMetric((serverCPU(b, p)-before).Seconds()/float64(b.N), "server-CPU-s/op") }()
			for b.Loop() {
				if _, _, err := p.Checksum(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("sum", func(b *testing.B) {
			clients := manyClients(0, named)
			for b.Loop() {
				var sum Sum
				for range 1_000_000 / batch {
					for i := range clients {
						sum.Add(&clients[i])
					}
				}
			}
		})
		b.Run("unchanged", func(b *testing.B) {
			for b.Loop() {
				if _, err := p.Latest(b.Context(), at); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("delta", func(b *testing.B) {
			at.Version--
			for b.Loop() {
				if c, err := p.Changes(b.Context(), at); err != nil || len(c.Clients) != batch {
					b.Fatal(len(c.Clients), err)
				}
			}
		})
	})
}
