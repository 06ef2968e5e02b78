package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

var errReadOnly = errors.New("the server does not accept writes any more")

// hearTimeout is how long a notification may take to arrive.
const hearTimeout = time.Second

// Listener hears of changes on a connection of its own. It is not safe for concurrent use.
type Listener struct {
	store   *Postgres
	conn    *pgx.Conn
	channel string // its own, for Hears
	pending bool   // a notification came while another was waited for
}

// Listen connects and listens. What was changed before is not told: ask for the changes afterwards.
func (p *Postgres) Listen(ctx context.Context) (*Listener, error) {
	if p.closed.Load() {
		return nil, ErrClosed
	}
	config := p.pool.Config()
	if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
		return nil, err
	}
	conn, err := p.servers.connect(ctx, config.ConnConfig)
	if err != nil {
		return nil, inWords(err)
	}
	l := &Listener{store: p, conn: conn, channel: "clients_" + strings.ToLower(rand.Text())}
	if err := send(ctx, conn, "LISTEN clients; LISTEN "+l.channel); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Hears reports whether notifications arrive. Behind a pooler that gives the connection to others
// between transactions they do not.
func (l *Listener) Hears(ctx context.Context) (bool, error) {
	err := l.store.read(ctx, new(bool), func(conn *pgx.Conn) error {
		return execute(ctx, conn, "SELECT pg_notify($1::text, '')", []byte(l.channel))
	})
	if err != nil {
		return false, err
	}
	waiting, cancel := context.WithTimeout(ctx, hearTimeout)
	defer cancel()
	for {
		n, err := l.conn.WaitForNotification(waiting)
		switch {
		case err == nil && n.Channel == l.channel:
			return true, nil
		case err == nil:
			l.pending = true
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return false, nil
		default:
			return false, err
		}
	}
}

// Wait returns nil when there was a change. The listener can be used after the context has ended.
func (l *Listener) Wait(ctx context.Context) error {
	for !l.pending {
		n, err := l.conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		l.pending = n.Channel == "clients"
	}
	l.pending = false
	return nil
}

// Ping returns an error if the connection is gone, or if it leads to a server that does not accept
// writes any more. The connections of the pool, which lead where this one led, are then not used
// again: one that is silent would hold up what comes next.
func (l *Listener) Ping(ctx context.Context) error {
	err := l.ask(ctx)
	if err != nil {
		l.store.dropIdle(ctx)
	}
	return err
}

func (l *Listener) ask(ctx context.Context) error {
	if l.conn.Config().ValidateConnect == nil {
		return send(ctx, l.conn, "-- ping")
	}
	results, err := l.conn.PgConn().Exec(ctx, "SHOW transaction_read_only").ReadAll()
	if err != nil {
		return err
	}
	if rows := results[0].Rows; len(rows) == 1 && string(rows[0][0]) == "on" {
		return errReadOnly
	}
	return nil
}

// Close closes the connection. It waits for a second at most.
func (l *Listener) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	if !l.conn.IsClosed() { // a pooler would keep the server's connection listening
		_ = send(ctx, l.conn, "UNLISTEN *")
	}
	_ = l.conn.Close(ctx) // it is given up in any case
}
