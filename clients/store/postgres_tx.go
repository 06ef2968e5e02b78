package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"loadbalancer/limiter"
)

// pruneEvery is how often the audit is pruned, in entries. Older entries are not shown in between.
const pruneEvery = 64

// postgresTx is the transaction of a write.
type postgresTx struct {
	ctx     context.Context
	conn    *pgx.Conn
	bounds  Bounds
	version int64 // of what it writes
	wrote   bool  // a client or plan
	changes Changes
	failed  error // the first of PostgreSQL
}

// query remembers the first error.
func (tx *postgresTx) query(row func(columns [][]byte) error, sql string, args ...[]byte) error {
	if tx.failed == nil {
		tx.failed = query(tx.ctx, tx.conn, row, sql, args...)
	}
	return tx.failed
}

func (tx *postgresTx) exec(sql string, args ...[]byte) error {
	return tx.query(func([][]byte) error { return nil }, sql, args...)
}

// ids are the ranges and the names among identities, as arguments.
func ids(all []limiter.ID) (ranges, names array) {
	for _, id := range all {
		if id.Name != "" {
			names.string(id.Name)
		} else {
			ranges.string(id.Prefix.String())
		}
	}
	return ranges, names
}

// Clients implements Tx. A row that is no client does not count as one, and Put replaces it.
func (tx *postgresTx) Clients(all []limiter.ID) (map[limiter.ID]Client, error) {
	found := make(map[limiter.ID]Client, len(all))
	ranges, names := ids(all)
	err := tx.clients(func(c Client) { found[c.ID] = c },
		" AND c.ip_address IN (SELECT unnest($1::cidr[]))", ranges, " AND c.name IN (SELECT unnest($1::text[]))"+byName, names)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// clients visits ranges and names. Where an argument is empty, the query is left out.
func (tx *postgresTx) clients(visit func(Client), ofRanges string, ranges array, ofNames string, names array) error {
	reader := rowReader{loose: true, bad: func(Bad) {}, visit: func(c Client) error { visit(c); return nil }}
	for _, q := range []struct {
		sql string
		arg array
	}{{selectRanges + ofRanges, ranges}, {selectNames + ofNames, names}} {
		if len(q.arg.text) == 0 {
			continue
		}
		if err := tx.query(reader.row, q.sql, q.arg.done()); err != nil {
			return err
		}
		_ = reader.flush() // visit never fails
	}
	return nil
}

// Holders implements Tx.
func (tx *postgresTx) Holders(keys []limiter.KeyDigest) (map[limiter.KeyDigest]limiter.ID, error) {
	holders := make(map[limiter.KeyDigest]limiter.ID, len(keys))
	if len(keys) == 0 {
		return holders, nil
	}
	var digests array
	for i := range keys {
		digests.add(bytea(keys[i][:]))
	}
	err := tx.query(func(columns [][]byte) error {
		holders[limiter.KeyDigest(columns[0])] = limiter.ID{Name: string(columns[1])}
		return nil
	}, "SELECT k.sha256, k.name FROM unnest($1::bytea[]) d (sha256), "+
		"LATERAL (SELECT sha256, name FROM client_keys WHERE client_keys.sha256 = d.sha256 LIMIT 1) k", digests.done())
	if err != nil {
		return nil, err
	}
	return holders, nil
}

const (
	writtenColumns = "plan, capacity, rate_per_second, max_in_flight, shadow, trial_capacity, trial_rate_per_second, " +
		"blocked, each, labels, expires_at, created_at, updated_at, api_key_sha256"
	putArrays = "$2::text[], $3::bigint[], $4::double precision[], $5::bigint[], $6::boolean[], $7::bigint[], " +
		"$8::double precision[], $9::boolean[], $10::boolean[], $11::text[]::jsonb[], $12::timestamptz[], " +
		"$13::timestamptz[], $14::timestamptz[], $15::bytea[]"
	putExcluded = "plan = excluded.plan, capacity = excluded.capacity, rate_per_second = excluded.rate_per_second, " +
		"max_in_flight = excluded.max_in_flight, shadow = excluded.shadow, trial_capacity = excluded.trial_capacity, " +
		"trial_rate_per_second = excluded.trial_rate_per_second, blocked = excluded.blocked, each = excluded.each, " +
		"labels = excluded.labels, expires_at = excluded.expires_at, created_at = excluded.created_at, " +
		"updated_at = excluded.updated_at, api_key_sha256 = excluded.api_key_sha256"

	putRanges = "INSERT INTO clients (ip_address, " + writtenColumns + ") SELECT * FROM unnest($1::cidr[], " + putArrays + ")" +
		" ON CONFLICT (ip_address) DO UPDATE SET " + putExcluded
	putNames = "INSERT INTO clients (name, " + writtenColumns + ") SELECT * FROM unnest($1::text[], " + putArrays + ")" +
		" ON CONFLICT (name) DO UPDATE SET " + putExcluded
	putKeys = "INSERT INTO client_keys (name, id, sha256, created_at, expires_at) SELECT * FROM " +
		"unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[], $5::timestamptz[])"
	// By the index, one name after the other: while statistics are old, which they are during an
	// import, a join would be planned as a look through all keys.
	deleteKeys = "DELETE FROM client_keys WHERE ctid = ANY (ARRAY(SELECT k.ctid FROM unnest($1::text[]) n (name), " +
		"LATERAL (SELECT ctid FROM client_keys WHERE client_keys.name = n.name ORDER BY client_keys.name, id LIMIT 4) k))"
)

// Put implements Tx.
func (tx *postgresTx) Put(clients []Client) error {
	var ranges, names clientArrays
	var keys keyArrays
	last := make(map[limiter.ID]int, len(clients))
	for i := range clients {
		clients[i].Version = tx.version
		last[clients[i].ID] = i
	}
	for i := range clients {
		c := &clients[i]
		if last[c.ID] != i { // a statement puts a row once
			continue
		}
		tx.changes.put(*c)
		if c.ID.Name == "" {
			ranges.add(c.ID.Prefix.String(), c)
			continue
		}
		names.add(c.ID.Name, c)
		keys.add(c)
	}
	tx.wrote = tx.wrote || len(clients) > 0
	if len(ranges.id.text) > 0 {
		if err := tx.exec(putRanges, ranges.args()...); err != nil {
			return err
		}
	}
	if len(names.id.text) == 0 {
		return nil
	}
	if err := tx.exec(putNames, names.args()...); err != nil {
		return err
	}
	if err := tx.exec(deleteKeys, names.id.done()); err != nil {
		return err
	}
	return tx.putKeys(&keys)
}

func (tx *postgresTx) putKeys(keys *keyArrays) error {
	if len(keys.id.text) == 0 {
		return nil
	}
	err := tx.exec(putKeys, keys.args()...)
	if isState(err, uniqueViolation) { // of the digest: the client's own keys have been deleted
		tx.failed = nil
		return ErrKeyTaken
	}
	return err
}

// Delete implements Tx.
func (tx *postgresTx) Delete(all []limiter.ID) error {
	ranges, names := ids(all)
	tx.wrote = tx.wrote || len(all) > 0
	for _, id := range all {
		tx.changes.delete(id)
	}
	if len(ranges.text) > 0 {
		if err := tx.exec("DELETE FROM clients WHERE ip_address IN (SELECT unnest($1::cidr[]))", ranges.done()); err != nil {
			return err
		}
	}
	if len(names.text) > 0 {
		return tx.exec("DELETE FROM clients WHERE name IN (SELECT unnest($1::text[]))", names.done())
	}
	return nil
}

// Plan implements Tx.
func (tx *postgresTx) Plan(name string) (plan Plan, err error) {
	found := false
	err = tx.query(func(columns [][]byte) (err error) {
		f := fields{columns: columns}
		plan, err = f.plan()
		found = err == nil // a row that is no plan can be replaced
		return nil
	}, selectPlans+" WHERE p.name = $1::text", []byte(name))
	if err == nil && !found {
		err = ErrNotFound
	}
	return plan, err
}

// PutPlan implements Tx. Of the terms, it stores the limit and MaxInFlight.
func (tx *postgresTx) PutPlan(p Plan) error {
	p.Version = tx.version
	tx.wrote = true
	tx.changes.Plans = append(tx.changes.Plans, p)
	return tx.exec("INSERT INTO plans (name, capacity, rate_per_second, max_in_flight, created_at, updated_at) "+
		"VALUES ($1::text, $2::bigint, $3::double precision, nullif($4::bigint, 0), $5::timestamptz, $6::timestamptz) "+
		"ON CONFLICT (name) DO UPDATE SET capacity = excluded.capacity, rate_per_second = excluded.rate_per_second, "+
		"max_in_flight = excluded.max_in_flight, created_at = excluded.created_at, updated_at = excluded.updated_at",
		[]byte(p.Name), number(p.Terms.Capacity), float(p.Terms.RatePerSecond), number(p.Terms.MaxInFlight),
		timestamp(p.CreatedAt), timestamp(p.UpdatedAt))
}

// DeletePlan implements Tx.
func (tx *postgresTx) DeletePlan(name string) error {
	tx.wrote = true
	tx.changes.DeletedPlans = append(tx.changes.DeletedPlans, name)
	return tx.exec("DELETE FROM plans WHERE name = $1::text", []byte(name))
}

// PlanUsers implements Tx.
func (tx *postgresTx) PlanUsers(name string) (n int, err error) {
	err = tx.query(func(columns [][]byte) error {
		f := fields{columns: columns}
		n = int(f.number(0))
		return f.err
	}, "SELECT count(*) FROM clients WHERE plan = $1::text", []byte(name))
	return n, err
}

// Overriding implements Tx.
func (tx *postgresTx) Overriding(plan string) (all []Client, err error) {
	const condition = " AND c.plan = ($1::text[])[1] " +
		"AND (c.capacity IS NOT NULL OR c.rate_per_second IS NOT NULL)" // as in clients_overriding_idx
	var name array
	name.string(plan)
	err = tx.clients(func(c Client) { all = append(all, c) }, condition+byRange, name, condition+byName, name)
	return all, err
}

// Note implements Tx.
func (tx *postgresTx) Note(e Entry) error {
	if tx.bounds.MaxCount == 0 {
		return nil
	}
	var id int64
	err := tx.query(func(columns [][]byte) error {
		f := fields{columns: columns}
		id = f.number(0)
		return f.err
	}, "INSERT INTO clients_audit (at, who, from_address, action, target, before, after) VALUES ($1::timestamptz, "+
		"$2::text, $3::text, $4::text, $5::text, $6::json, $7::json) RETURNING id", timestamp(e.At), []byte(e.Who), []byte(e.From),
		[]byte(e.Action), []byte(e.Target), orNull(e.Before), orNull(e.After))
	if err != nil || id%pruneEvery != 0 {
		return err
	}
	return tx.exec("DELETE FROM clients_audit WHERE id <= $1::bigint OR at < $2::timestamptz",
		number(id-int64(tx.bounds.MaxCount)), timestamp(e.At.Add(-tx.bounds.MaxAge)))
}

// Reply implements Tx.
func (tx *postgresTx) Reply(key string) (r Reply, found bool, err error) {
	err = tx.query(func(columns [][]byte) error {
		f := fields{columns: columns}
		r = Reply{Key: key, Status: int(f.number(1)), Body: slices.Clone(columns[2]), At: f.time(3)}
		copy(r.Digest[:], columns[0])
		found = time.Since(r.At) < ReplyAge
		return f.err
	}, "SELECT digest, status::bigint, body, at FROM clients_replies WHERE key = $1::text", []byte(key))
	return r, found, err
}

// Remember implements Tx.
func (tx *postgresTx) Remember(r Reply) error {
	err := tx.exec("INSERT INTO clients_replies (key, digest, status, body, at) VALUES ($1::text, $2::bytea, "+
		"$3::integer, $4::bytea, $5::timestamptz) ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, "+
		"status = excluded.status, body = excluded.body, at = excluded.at",
		[]byte(r.Key), bytea(r.Digest[:]), number(int64(r.Status)), bytea(r.Body), timestamp(r.At))
	if err != nil {
		return err
	}
	return tx.exec("DELETE FROM clients_replies WHERE at < $1::timestamptz", timestamp(r.At.Add(-ReplyAge)))
}
