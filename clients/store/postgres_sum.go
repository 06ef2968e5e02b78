package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Sum is a checksum of clients and plans, whatever their order. PostgreSQL computes the same of its
// rows: it finds what differs also where the versions are the same, after a change that the
// triggers did not see. It does not find out forgers.
//
// The sum is that of the first eight bytes of the SHA-256 of each row, in the binary form of a
// PostgreSQL record, modulo 2^64.
type Sum uint64

// Add adds a client with its keys.
func (s *Sum) Add(c *Client) {
	s.addClient(c)
	for i := range c.Keys {
		s.addKey(c.ID.Name, &c.Keys[i])
	}
}

// AddPlan adds a plan.
func (s *Sum) AddPlan(p *Plan) {
	r := record(make([]byte, 0, recordRoom))
	r.begin(7)
	r.text(p.Name)
	r.number(p.Terms.Capacity)
	r.float(p.Terms.RatePerSecond)
	r.number(p.Terms.MaxInFlight)
	r.time(p.CreatedAt)
	r.time(p.UpdatedAt)
	r.version(p.Version)
	*s += r.sum()
}

// AddBad adds a row that is no client.
func (s *Sum) AddBad(b *Bad) { *s += b.sum }

func (s *Sum) addClient(c *Client) {
	r := record(make([]byte, 0, recordRoom))
	r.begin(columnsOfClient)
	r.prefix(c.ID.Prefix)
	r.text(c.ID.Name)
	r.text(c.Plan)
	r.number(c.Own.Capacity)
	r.float(c.Own.RatePerSecond)
	r.number(c.Own.MaxInFlight)
	r.bool(c.Own.Shadow)
	r.number(c.Own.Trial.Capacity)
	r.float(c.Own.Trial.RatePerSecond)
	r.bool(c.Own.Blocked)
	r.bool(c.Own.Each)
	r.labels(c.Labels)
	r.time(c.ExpiresAt)
	r.time(c.CreatedAt)
	r.time(c.UpdatedAt)
	r.version(c.Version)
	*s += r.sum()
}

func (s *Sum) addKey(name string, k *Key) {
	r := record(make([]byte, 0, recordRoom))
	r.begin(columnsOfKey)
	r.text(name)
	r.text(k.ID)
	r.field(pgtype.ByteaOID, k.Digest[:])
	r.time(k.CreatedAt)
	r.time(k.ExpiresAt)
	*s += r.sum()
}

// The types of the columns that are read.
var (
	clientTypes = []uint32{
		pgtype.CIDROID, pgtype.TextOID, pgtype.TextOID, pgtype.Int8OID, pgtype.Float8OID, pgtype.Int8OID, pgtype.BoolOID,
		pgtype.Int8OID, pgtype.Float8OID, pgtype.BoolOID, pgtype.BoolOID, pgtype.JSONBOID, pgtype.TimestamptzOID,
		pgtype.TimestamptzOID, pgtype.TimestamptzOID, pgtype.Int8OID,
	}
	keyTypes  = []uint32{pgtype.TextOID, pgtype.TextOID, pgtype.ByteaOID, pgtype.TimestamptzOID, pgtype.TimestamptzOID}
	planTypes = []uint32{
		pgtype.TextOID, pgtype.Int8OID, pgtype.Float8OID, pgtype.Int8OID, pgtype.TimestamptzOID, pgtype.TimestamptzOID, pgtype.Int8OID,
	}
)

// sumRow returns the sum of a row as it was read.
func sumRow(columns [][]byte, types []uint32) Sum {
	r := record(make([]byte, 0, recordRoom))
	r.begin(len(types))
	for i, oid := range types {
		if columns[i] == nil {
			r.null(oid)
		} else {
			r.field(oid, columns[i])
		}
	}
	return r.sum()
}

// record is a record as PostgreSQL's record_send writes it.
type record []byte

// recordRoom is more than most records need. A record of this room stands on the stack.
const recordRoom = 512

func (r *record) begin(columns int) { *r = binary.BigEndian.AppendUint32(*r, uint32(columns)) }

func (r *record) sum() Sum {
	digest := sha256.Sum256(*r)
	return Sum(binary.BigEndian.Uint64(digest[:]))
}

func (r *record) null(oid uint32) {
	*r = binary.BigEndian.AppendUint32(*r, oid)
	*r = binary.BigEndian.AppendUint32(*r, math.MaxUint32) // -1
}

func (r *record) field(oid uint32, value []byte) {
	r.size(oid, len(value))
	*r = append(*r, value...)
}

func (r *record) size(oid uint32, size int) {
	*r = binary.BigEndian.AppendUint32(*r, oid)
	*r = binary.BigEndian.AppendUint32(*r, uint32(size))
}

// A zero value is NULL.

func (r *record) text(s string) {
	if s == "" {
		r.null(pgtype.TextOID)
		return
	}
	r.size(pgtype.TextOID, len(s))
	*r = append(*r, s...)
}

func (r *record) number(n int64) {
	if n == 0 {
		r.null(pgtype.Int8OID)
		return
	}
	r.version(n)
}

// version is number for one that is never NULL.
func (r *record) version(n int64) {
	r.size(pgtype.Int8OID, 8)
	*r = binary.BigEndian.AppendUint64(*r, uint64(n))
}

func (r *record) float(f float64) {
	if f == 0 {
		r.null(pgtype.Float8OID)
		return
	}
	r.size(pgtype.Float8OID, 8)
	*r = binary.BigEndian.AppendUint64(*r, math.Float64bits(f))
}

func (r *record) time(t time.Time) {
	if t.IsZero() {
		r.null(pgtype.TimestamptzOID)
		return
	}
	r.size(pgtype.TimestamptzOID, 8)
	*r = binary.BigEndian.AppendUint64(*r, uint64(t.UnixMicro()-epoch))
}

func (r *record) bool(b bool) {
	r.size(pgtype.BoolOID, 1)
	if b {
		*r = append(*r, 1)
	} else {
		*r = append(*r, 0)
	}
}

func (r *record) prefix(p netip.Prefix) {
	if !p.IsValid() {
		r.null(pgtype.CIDROID)
		return
	}
	const ipv4, ipv6, isCIDR = 2, 3, 1
	family, addr := byte(ipv6), p.Addr().AsSlice()
	if p.Addr().Is4() {
		family = ipv4
	}
	r.size(pgtype.CIDROID, 4+len(addr))
	*r = append(*r, family, byte(p.Bits()), isCIDR, byte(len(addr)))
	*r = append(*r, addr...)
}

// labels writes a jsonb: a version and JSON with its names by length, then bytewise.
func (r *record) labels(labels map[string]string) {
	if len(labels) == 0 {
		r.null(pgtype.JSONBOID)
		return
	}
	names := slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		if a < b {
			return -1
		}
		return 1
	})
	text := []byte{1}
	for i, name := range names {
		text = append(text, map[bool]string{true: "{", false: ", "}[i == 0]...)
		text = append(appendJSON(text, name), ": "...)
		text = appendJSON(text, labels[name])
	}
	r.field(pgtype.JSONBOID, append(text, '}'))
}

// appendJSON appends a text as PostgreSQL writes it in JSON.
func appendJSON(b []byte, text string) []byte {
	b = append(b, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		default:
			escaped, _ := json.Marshal(string(c)) // \b \f \n \r \t, or \u00 and two digits
			b = append(b, escaped[1:len(escaped)-1]...)
		}
	}
	return append(b, '"')
}

// sumOf is a sum in SQL.
func sumOf(columns, table string) string {
	return "(SELECT coalesce(sum(('x' || encode(substr(sha256(record_send(ROW(" + columns +
		"))), 1, 8), 'hex'))::bit(64)::bigint), 0)::text FROM " + table + ")"
}

var selectSums = "SELECT version, " + history + ", " + sumOf(clientColumns, "clients c") + ", " +
	sumOf(keyColumns, "client_keys k") + ", " + sumOf(planColumns, "plans p") + " FROM clients_version"

// Checksum returns the sum of all rows, at a position.
func (p *Postgres) Checksum(ctx context.Context) (at Position, sum Sum, err error) {
	err = p.read(ctx, new(bool), func(conn *pgx.Conn) error {
		at, sum = Position{}, 0
		return query(ctx, conn, func(columns [][]byte) error {
			f := fields{columns: columns}
			at = Position{Version: f.number(0), History: f.text(1)}
			for i := 2; i < len(columns); i++ {
				part, ok := new(big.Int).SetString(f.text(i), 10)
				if !ok {
					return fmt.Errorf("the sum %s is no number", columns[i])
				}
				sum += Sum(part.And(part, new(big.Int).SetUint64(math.MaxUint64)).Uint64())
			}
			return f.err
		}, selectSums)
	})
	return at, sum, err
}
