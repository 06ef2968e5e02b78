package store

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// servers are those of a URL with several. A frozen one is the slowest to tell from one that
// answers, so that a listener asks all at once, and other connections ask the one that answered it
// first. The zero value knows of none that answered. It is safe for concurrent use.
type servers struct{ answered atomic.Pointer[string] } // its address

// prefer puts the server that answered before the others.
func (s *servers) prefer(config *pgx.ConnConfig) {
	answered := s.answered.Load()
	if answered == nil {
		return
	}
	use(config, waysTo(config, *answered))
}

// attempt is what became of a connection to one server.
type attempt struct {
	address string
	conn    *pgx.Conn
	err     error
}

// connect connects to the first server that answers, and remembers it. The error is that of the one
// that failed first.
func (s *servers) connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	all := addresses(&config.Config)
	trying, cancel := context.WithCancel(ctx)
	attempts := make(chan attempt, len(all))
	for _, address := range all {
		one := config.Copy()
		use(one, slices.DeleteFunc(waysTo(config, address), func(f *pgconn.FallbackConfig) bool { return addressOf(f) != address }))
		go func() {
			conn, err := pgx.ConnectConfig(trying, one)
			attempts <- attempt{address, conn, err}
		}()
	}
	var first *attempt
	var err error
	for range all {
		a := <-attempts
		switch {
		case a.err != nil && err == nil:
			err = a.err
		case a.err == nil && first == nil:
			first = &a
			cancel() // the others
		case a.err == nil:
			_ = a.conn.Close(ctx) // one is enough
		}
	}
	cancel()
	if first == nil {
		return nil, err
	}
	s.answered.Store(&first.address)
	return first.conn, nil
}

// waysTo returns all ways to connect, those to the address first.
func waysTo(config *pgx.ConnConfig, address string) []*pgconn.FallbackConfig {
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	slices.SortStableFunc(all, func(a, b *pgconn.FallbackConfig) int {
		return rank(addressOf(a) == address) - rank(addressOf(b) == address)
	})
	return all
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

func addressOf(f *pgconn.FallbackConfig) string {
	_, address := pgconn.NetworkAddress(f.Host, f.Port)
	return address
}

// use makes these the ways to connect.
func use(config *pgx.ConnConfig, ways []*pgconn.FallbackConfig) {
	config.Host, config.Port, config.TLSConfig = ways[0].Host, ways[0].Port, ways[0].TLSConfig
	config.Fallbacks = ways[1:]
}
