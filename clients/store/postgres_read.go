package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrTooOld means that the changes since a position are not known any more, or never were, or are
// more than maxChanges: load the clients anew.
var ErrTooOld = errors.New("the changes since the position are not known, or too many")

// errNoVersion means that the row was deleted.
var errNoVersion = errors.New("the table clients_version has no row: restore it from a backup")

const (
	// history also has the table, which is another one after a restore from a dump: the versions of the
	// dump may have been given to other changes since.
	history       = "history || ' ' || tableoid"
	selectVersion = "SELECT version, " + history + ", pruned FROM clients_version"

	selectPlans  = "SELECT " + planColumns + " FROM plans p"
	changedPlans = " WHERE p.version > $1::bigint"
	byPlan       = " ORDER BY p.name"

	noKey        = ", NULL::text, NULL::text, NULL::bytea, NULL::timestamptz, NULL::timestamptz"
	selectRanges = "SELECT " + clientColumns + noKey + " FROM clients c WHERE c.ip_address IS NOT NULL"
	byRange      = " ORDER BY c.ip_address"
	// A client comes once for each of its keys.
	selectNames = "SELECT " + clientColumns + ", " + keyColumns +
		" FROM clients c LEFT JOIN client_keys k ON k.name = c.name WHERE c.name IS NOT NULL"
	byName = " ORDER BY c.name"

	// What was changed is found by its version, whatever the statistics of a table say that has grown
	// a moment ago.
	byVersion     = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
	changedOnly   = "WITH c AS MATERIALIZED (SELECT * FROM clients WHERE version > $1::bigint) "
	changedRanges = changedOnly + "SELECT " + clientColumns + noKey + " FROM c WHERE c.ip_address IS NOT NULL"
	changedNames  = changedOnly + "SELECT " + clientColumns + ", " + keyColumns +
		" FROM c LEFT JOIN client_keys k ON k.name = c.name WHERE c.name IS NOT NULL" + byName

	// What was deleted and is there again is not deleted.
	selectDeleted = "SELECT DISTINCT d.ip_address, d.name, d.plan FROM clients_deleted d WHERE d.version > $1::bigint" +
		" AND NOT EXISTS (SELECT FROM clients c WHERE c.ip_address = d.ip_address)" +
		" AND NOT EXISTS (SELECT FROM clients c WHERE c.name = d.name)" +
		" AND NOT EXISTS (SELECT FROM plans p WHERE p.name = d.plan)"
)

// maxChanges is how many changed clients are read into memory at once.
const maxChanges = 100_000

// positionTimeout bounds the look at whether there are changes. To read them takes its time.
const positionTimeout = 2 * time.Second

// lockTimeout bounds the time for which a read waits for a lock on a table.
const lockTimeout = 3 * time.Second

// snapshot runs use in a transaction that sees one state of the database. begun is as for read.
func (p *Postgres) snapshot(ctx context.Context, begun *bool, use func(*pgx.Conn) error) error {
	err := p.read(ctx, begun, func(conn *pgx.Conn) error {
		err := send(ctx, conn, fmt.Sprintf("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "+
			"SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds()))
		if err != nil {
			return err
		}
		err = use(conn)
		rollback(ctx, conn)
		return err
	})
	return p.whoLocks(ctx, err)
}

// rollback ends a transaction. If that fails, the connection is closed when it is given back.
func rollback(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
	defer cancel()
	_ = send(ctx, conn, "ROLLBACK")
}

// Load gives all plans and clients of one position to the sink.
func (p *Postgres) Load(ctx context.Context, to Sink) error {
	begun := false
	return p.snapshot(ctx, &begun, func(conn *pgx.Conn) error {
		at, _, err := position(ctx, conn)
		if err != nil {
			return err
		}
		var bad []Bad // of the plans, before the sink has begun
		plans, err := readPlans(ctx, conn, func(b Bad) { bad = append(bad, b) }, selectPlans+byPlan)
		if err != nil {
			return err
		}
		begun = true
		if err := to.Begin(at, plans); err != nil {
			return err
		}
		for _, b := range bad {
			to.Bad(b)
		}
		reader := rowReader{bad: to.Bad, visit: to.Client}
		if err := reader.clients(ctx, conn, selectRanges+byRange); err != nil {
			return err
		}
		return reader.clients(ctx, conn, selectNames+byName)
	})
}

// Changes returns what was changed since a position, at one later position. It returns ErrTooOld if
// that is not known: what was deleted is pruned after a day, TRUNCATE and another database have no
// changes, and a restored one may be older than the position; or if they are more than maxChanges.
func (p *Postgres) Changes(ctx context.Context, since Position) (changes Changes, err error) {
	changes.Position, err = p.latest(ctx, since)
	if err != nil || changes.Version == since.Version { // the usual case, in one round trip
		return changes, err
	}
	err = p.snapshot(ctx, new(bool), func(conn *pgx.Conn) error {
		var pruned int64
		changes = Changes{}
		if changes.Position, pruned, err = position(ctx, conn); err != nil {
			return err
		}
		if err := since.check(changes.Position, pruned); err != nil {
			return err
		}
		return changes.read(ctx, conn, since)
	})
	if err != nil {
		return Changes{}, err
	}
	return changes, nil
}

// latest returns the position of the last change, or ErrTooOld if what has changed since is not known.
func (p *Postgres) latest(ctx context.Context, since Position) (at Position, err error) {
	ctx, cancel := context.WithTimeout(ctx, positionTimeout)
	defer cancel()
	err = p.read(ctx, new(bool), func(conn *pgx.Conn) error {
		var pruned int64
		if at, pruned, err = position(ctx, conn); err != nil {
			return err
		}
		return since.check(at, pruned)
	})
	return at, err
}

// check returns ErrTooOld unless the changes from one position to another are known.
func (since Position) check(now Position, pruned int64) error {
	if since.History != now.History || since.Version > now.Version || since.Version < pruned {
		return ErrTooOld
	}
	return nil
}

func position(ctx context.Context, conn *pgx.Conn) (at Position, pruned int64, err error) {
	err = query(ctx, conn, func(columns [][]byte) error {
		f := fields{columns: columns}
		at, pruned = Position{Version: f.number(0), History: f.text(1)}, f.number(2)
		return f.err
	}, selectVersion)
	if err == nil && at.History == "" {
		err = errNoVersion
	}
	return at, pruned, err
}

// read fills in what was changed after since.
func (c *Changes) read(ctx context.Context, conn *pgx.Conn, since Position) error {
	if err := send(ctx, conn, byVersion); err != nil {
		return err
	}
	version := number(since.Version)
	bad := func(b Bad) { c.Bad = append(c.Bad, b) }
	var err error
	if c.Plans, err = readPlans(ctx, conn, bad, selectPlans+changedPlans+byPlan, version); err != nil {
		return err
	}
	reader := rowReader{bad: bad, visit: func(one Client) error {
		if len(c.Clients) == maxChanges {
			return ErrTooOld
		}
		c.Clients = append(c.Clients, one)
		return nil
	}}
	if err := reader.clients(ctx, conn, changedRanges, version); err != nil {
		return err
	}
	if err := reader.clients(ctx, conn, changedNames, version); err != nil {
		return err
	}
	return query(ctx, conn, func(columns [][]byte) error {
		f := fields{columns: columns}
		if columns[2] != nil {
			c.DeletedPlans = append(c.DeletedPlans, f.text(2))
		} else {
			c.Deleted = append(c.Deleted, f.clientID())
		}
		return f.err
	}, selectDeleted, version)
}

// rowReader puts the rows of clients and keys together, and finds those that are no clients.
type rowReader struct {
	loose bool // what can be read need not be enforceable
	visit func(Client) error
	bad   func(Bad)

	open   bool // client is one whose keys are being read
	client Client
	fault  error // why the client is none
	sum    Sum   // of its rows; only with a fault
}

// readPlans returns the plans that a query returns, but for those that are bad.
func readPlans(ctx context.Context, conn *pgx.Conn, bad func(Bad), sql string, args ...[]byte) (plans []Plan, err error) {
	err = query(ctx, conn, func(columns [][]byte) error {
		f := fields{columns: columns, names: planNames}
		p, err := f.plan()
		if err != nil {
			bad(Bad{Err: fmt.Errorf("plan %q: %w", p.Name, err), sum: sumRow(columns, planTypes)})
			return nil
		}
		plans = append(plans, p)
		return nil
	}, sql, args...)
	return plans, err
}

// clients visits the clients that a query returns.
func (r *rowReader) clients(ctx context.Context, conn *pgx.Conn, sql string, args ...[]byte) error {
	if err := query(ctx, conn, r.row, sql, args...); err != nil {
		return err
	}
	return r.flush()
}

// row takes a client with at most one of its keys.
func (r *rowReader) row(columns [][]byte) error {
	f := fields{columns: columns[:columnsOfClient], names: clientNames}
	name := columns[nameColumn]
	if !r.open || name == nil || string(name) != r.client.ID.Name {
		if err := r.flush(); err != nil {
			return err
		}
		r.open = true
		if r.client, r.fault = f.client(); r.fault != nil {
			r.sum = sumRow(columns, clientTypes)
		}
	}
	if key := columns[columnsOfClient:]; key[0] != nil {
		r.key(key)
	}
	return nil
}

func (r *rowReader) key(columns [][]byte) {
	f := fields{columns: columns, names: keyNames}
	k, err := f.key()
	if err != nil && r.fault == nil {
		r.fault, r.sum = err, 0
		r.sum.Add(&r.client)
	}
	if r.fault != nil {
		r.sum += sumRow(columns, keyTypes)
		return
	}
	r.client.Keys = append(r.client.Keys, k)
}

// flush hands out the client whose rows have all been read.
func (r *rowReader) flush() error {
	if !r.open {
		return nil
	}
	r.open = false
	c := r.client
	SortKeys(c.Keys)
	if r.fault == nil && !r.loose {
		if r.fault = c.checkAlone(); r.fault != nil {
			r.sum = 0
			r.sum.Add(&c)
		}
	}
	if r.fault != nil {
		r.bad(Bad{ID: c.ID, Err: r.fault, sum: r.sum})
		return nil
	}
	return r.visit(c)
}

// Audit implements Store.
func (p *Postgres) Audit(ctx context.Context, before int64, limit int) (page []Entry, err error) {
	if p.bounds.MaxCount == 0 {
		return nil, nil
	}
	err = p.read(ctx, new(bool), func(conn *pgx.Conn) error {
		page = nil
		return query(ctx, conn, func(columns [][]byte) error {
			f := fields{columns: columns}
			page = append(page, Entry{
				ID: f.number(0), At: f.time(1), Who: f.text(2), From: f.text(3), Action: f.text(4), Target: f.text(5),
				Before: slices.Clone(columns[6]), After: slices.Clone(columns[7]),
			})
			return f.err
		}, "SELECT id, at, who, from_address, action, target, before, after FROM clients_audit"+
			" WHERE ($1::bigint = 0 OR id < $1::bigint) AND id > (SELECT max(id) FROM clients_audit) - $3::bigint"+
			" AND at >= $4::timestamptz ORDER BY id DESC LIMIT $2::bigint", number(before), number(int64(limit)),
			number(int64(p.bounds.MaxCount)), timestamp(time.Now().Add(-p.bounds.MaxAge)))
	})
	return page, err
}
