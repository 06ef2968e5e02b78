package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// connectTimeout bounds an attempt to connect to one address, unless the URL does.
	connectTimeout = 3 * time.Second
	// otherHostTimeout is connectTimeout where there are several: the next one may answer.
	otherHostTimeout = time.Second
	// hangUpTimeout bounds the farewell to a server that may be gone.
	hangUpTimeout = time.Second
)

// A connection whose other end has gone without a word is found out after 15 seconds.
var dialer = net.Dialer{
	Timeout:         connectTimeout,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5},
}

// Values of SQLSTATE (PostgreSQL manual, appendix A).
const (
	connectionException  = "08000"
	connectionFailure    = "08006"
	uniqueViolation      = "23505"
	readOnlyTransaction  = "25006"
	invalidAuthorization = "28000" // also: no such role, and no entry in pg_hba.conf
	invalidPassword      = "28P01"
	invalidDatabase      = "3D000"
	serializationFailure = "40001"
	completionUnknown    = "40003"
	deadlockDetected     = "40P01"
	insufficientRights   = "42501"
	undefinedTable       = "42P01"
	lockNotAvailable     = "55P03"
)

// poolConfig parses the URL and sets what it leaves open. Of several servers, the one that is known
// to answer comes first.
func poolConfig(url string, known *servers) (*pgxpool.Config, error) {
	config, err := ParsePostgresURL(url)
	if err != nil {
		return nil, err
	}
	u, err := splitPostgresURL(url)
	if err != nil {
		return nil, err
	}
	sets := func(name string) bool {
		return slices.ContainsFunc(u.parameters, func(p urlParameter) bool { return p.name == name })
	}
	conn := config.ConnConfig
	conn.DialFunc = dialer.DialContext
	several := len(addresses(&conn.Config)) > 1
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = map[bool]time.Duration{true: otherHostTimeout, false: connectTimeout}[several]
	}
	if !sets("default_query_exec_mode") {
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if !sets("target_session_attrs") {
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// A password or certificate may be another than at the start.
	config.BeforeConnect = func(_ context.Context, next *pgx.ConnConfig) error {
		now, err := ParsePostgresURL(url)
		if err != nil {
			return err
		}
		next.Password = now.ConnConfig.Password
		next.Host, next.Port, next.TLSConfig = now.ConnConfig.Host, now.ConnConfig.Port, now.ConnConfig.TLSConfig
		next.Fallbacks = now.ConnConfig.Fallbacks
		known.prefer(next)
		return nil
	}
	// A dead connection is found out by the statement itself, which is sent once more.
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	return config, nil
}

// OpenPool returns a pool of connections to a database for other tables than the store's own: they
// are made as the store makes its own, when they are needed, and there are at most as many as size
// and the URL say. The URL has to be valid. The pool has to be closed.
func OpenPool(ctx context.Context, url string, size int32) (*pgxpool.Pool, error) {
	config, err := poolConfig(url, new(servers))
	if err != nil {
		return nil, fmt.Errorf("clients.store: allowed is %w", err)
	}
	config.MaxConns, config.MinConns = min(config.MaxConns, size), 0
	return pgxpool.NewWithConfig(ctx, config)
}

// on runs use on a connection of the pool. A connection that broke does not keep its place in the
// pool until its server takes leave, and those that are not in use go with it: they lead to the same
// server.
func (p *Postgres) on(ctx context.Context, use func(*pgx.Conn) error) error {
	if p.closed.Load() {
		return ErrClosed
	}
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return unsent{inWords(err)}
	}
	panicked := true
	defer func() {
		switch {
		case conn.Conn().IsClosed():
			conn.Hijack()
			p.dropIdle(ctx)
		case isState(err, readOnlyTransaction):
			p.hangUp(ctx, conn.Hijack())
			p.dropIdle(ctx)
		case panicked:
			p.hangUp(ctx, conn.Hijack())
		default:
			conn.Release()
		}
	}()
	err = use(conn.Conn())
	panicked = false
	if err != nil && conn.Conn().IsClosed() {
		return broken{err}
	}
	return err
}

// unsent is an error before any statement was sent.
type unsent struct{ error }

// broken is an error with which the connection ended.
type broken struct{ error }

func (e unsent) Unwrap() error { return e.error }
func (e broken) Unwrap() error { return e.error }

// plain returns the error without what on has put around it.
func plain(err error) error {
	switch e := err.(type) { //nolint:errorlint // on has put it there
	case unsent:
		return e.error
	case broken:
		return e.error
	}
	return err
}

func isBroken(err error) bool {
	_, ok := errors.AsType[broken](err)
	return ok
}

// isAnswer reports whether the error is one that the server has sent.
func isAnswer(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok
}

func isState(err error, states ...string) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains(states, answer.Code)
}

// worthFresh reports whether what failed, without an effect, may succeed on a fresh connection: the
// one it had was dead, or led to a server that has become a standby.
func worthFresh(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (isBroken(err) || isState(err, readOnlyTransaction))
}

// dropIdle closes the connections that are not in use now, and those in use when they are given
// back.
func (p *Postgres) dropIdle(ctx context.Context) {
	for _, conn := range p.pool.AcquireAllIdle(ctx) {
		p.hangUp(ctx, conn.Hijack())
	}
	p.pool.Reset()
}

// hangUp closes a connection without waiting for its server.
func (p *Postgres) hangUp(ctx context.Context, conn *pgx.Conn) {
	p.leaving.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
		defer cancel()
		_ = conn.Close(ctx) // it is given up in any case
	})
}

// read runs use on a connection, and once more on a fresh one if worthFresh says so and use has not
// begun to hand out what it read.
func (p *Postgres) read(ctx context.Context, begun *bool, use func(*pgx.Conn) error) error {
	err := p.on(ctx, use)
	if err != nil && !*begun && worthFresh(ctx, err) {
		err = p.on(ctx, use)
	}
	return plain(err)
}

// Permanent reports whether the error will not pass by itself: PostgreSQL knows no such role or
// database, or refuses the password or the address.
func Permanent(err error) bool {
	return isState(err, invalidAuthorization, invalidPassword, invalidDatabase)
}

// connectError is an error of pgx in one line, which tells a cause once: pgx has a line for each way
// to a server, with TLS and without.
type connectError struct{ error }

func (e connectError) Error() string {
	first, causes, _ := strings.Cut(e.error.Error(), "\n")
	var told []string
	for cause := range strings.SplitSeq(causes, "\n") {
		if cause = strings.TrimSpace(cause); cause != "" && !slices.Contains(told, cause) {
			told = append(told, cause)
		}
	}
	return strings.TrimSpace(first + " " + strings.Join(told, "; "))
}

func (e connectError) Unwrap() error { return e.error }

// inWords returns the error with what to do about it in front.
func inWords(err error) error {
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
		err = connectError{err}
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch answer.Code {
	case invalidPassword:
		return fmt.Errorf("PostgreSQL refuses the password: %w", err)
	case invalidAuthorization:
		return fmt.Errorf("PostgreSQL has no such role, or does not let it in from here: %w", err)
	case invalidDatabase:
		return fmt.Errorf("PostgreSQL has no such database: %w", err)
	}
	return err
}
