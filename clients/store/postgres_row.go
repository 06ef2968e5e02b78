package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"loadbalancer/limiter"
)

// The columns that are read. Their checksum depends on the order.
const (
	clientColumns = "c.ip_address, c.name, c.plan, c.capacity, c.rate_per_second, c.max_in_flight, c.shadow, " +
		"c.trial_capacity, c.trial_rate_per_second, c.blocked, c.each, c.labels, c.expires_at, c.created_at, " +
		"c.updated_at, c.version"
	keyColumns  = "k.name, k.id, k.sha256, k.created_at, k.expires_at"
	planColumns = "p.name, p.capacity, p.rate_per_second, p.max_in_flight, p.created_at, p.updated_at, p.version"
)

// The columns by place. Those of a key follow those of its client.
const (
	ipColumn = iota
	nameColumn
	planColumn
	capacityColumn
	rateColumn
	inFlightColumn
	shadowColumn
	trialCapacityColumn
	trialRateColumn
	blockedColumn
	eachColumn
	labelsColumn
	expiresColumn
	createdColumn
	updatedColumn
	versionColumn
	columnsOfClient
)

const columnsOfKey = 5

// fields decodes columns in the binary format. NULL is the zero value. The first error counts.
type fields struct {
	columns [][]byte
	names   []string // of the columns; nil where none can be wrong
	err     error
}

// The names of columns, for errors.
var (
	clientNames = columnNames(clientColumns)
	keyNames    = columnNames(keyColumns)
	planNames   = columnNames(planColumns)
)

func columnNames(columns string) []string {
	names := strings.Split(columns, ", ")
	for i := range names {
		_, names[i], _ = strings.Cut(names[i], ".")
	}
	return names
}

func (f *fields) fail(column int, why string) {
	if f.err != nil {
		return
	}
	name := fmt.Sprint("column ", column+1)
	if f.names != nil {
		name = f.names[column]
	}
	f.err = errors.New(name + " " + why)
}

// fixed returns a column of the given size.
func (f *fields) fixed(column, size int) (value []byte, set bool) {
	value = f.columns[column]
	if value != nil && len(value) != size {
		f.fail(column, fmt.Sprintf("has %d bytes", len(value)))
		return nil, false
	}
	return value, value != nil
}

// number decodes a number, which is above zero where a column is named.
func (f *fields) number(column int) int64 {
	value, set := f.fixed(column, 8)
	if !set {
		return 0
	}
	n := int64(binary.BigEndian.Uint64(value))
	if n <= 0 && f.names != nil {
		f.fail(column, "is not above 0")
	}
	return n
}

// float is number for one with a fraction.
func (f *fields) float(column int) float64 {
	value, set := f.fixed(column, 8)
	if !set {
		return 0
	}
	n := math.Float64frombits(binary.BigEndian.Uint64(value))
	if !(n > 0) && f.names != nil { // the negation catches NaN
		f.fail(column, "is not above 0")
	}
	return n
}

func (f *fields) bool(column int) bool {
	value, set := f.fixed(column, 1)
	return set && value[0] != 0
}

func (f *fields) text(column int) string {
	if value := f.columns[column]; value != nil && len(value) == 0 && f.names != nil {
		f.fail(column, "is empty")
	}
	return string(f.columns[column])
}

// epoch is the zero of PostgreSQL's times, in microseconds of Unix time.
const epoch = 946_684_800_000_000

func (f *fields) time(column int) time.Time {
	value, set := f.fixed(column, 8)
	if !set {
		return time.Time{}
	}
	micros := int64(binary.BigEndian.Uint64(value))
	t := time.UnixMicro(micros + epoch).UTC()
	if micros == math.MaxInt64 || micros == math.MinInt64 || t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		f.fail(column, "is no time from the year 1 to 9999")
	}
	return t
}

// prefix decodes a cidr: family, bits, a flag, the size of the address and the address.
func (f *fields) prefix(column int) netip.Prefix {
	value := f.columns[column]
	if value == nil {
		return netip.Prefix{}
	}
	const head = 4
	if len(value) >= head {
		if addr, ok := netip.AddrFromSlice(value[head:]); ok {
			if prefix := netip.PrefixFrom(addr, int(value[1])); prefix.IsValid() {
				return prefix
			}
		}
	}
	f.fail(column, "is no address")
	return netip.Prefix{}
}

// labels decodes a jsonb: a version and JSON.
func (f *fields) labels(column int) (labels map[string]string) {
	value := f.columns[column]
	if value == nil {
		return nil
	}
	if len(value) == 0 || value[0] != 1 || json.Unmarshal(value[1:], &labels) != nil || len(labels) == 0 {
		f.fail(column, "is no object with texts")
	}
	return labels
}

// clientID returns the identity as far as it can be told.
func (f *fields) clientID() limiter.ID {
	if f.columns[nameColumn] != nil {
		return limiter.ID{Name: f.text(nameColumn)}
	}
	return limiter.ID{Prefix: f.prefix(ipColumn)}
}

// client decodes a client without its keys. The error says what cannot be kept in a Client.
func (f *fields) client() (Client, error) {
	c := Client{
		ID:   f.clientID(),
		Plan: f.text(planColumn),
		Own: limiter.Terms{
			Limit:       limiter.Limit{Capacity: f.number(capacityColumn), RatePerSecond: f.float(rateColumn)},
			MaxInFlight: f.number(inFlightColumn),
			Shadow:      f.bool(shadowColumn),
			Trial:       limiter.Limit{Capacity: f.number(trialCapacityColumn), RatePerSecond: f.float(trialRateColumn)},
			Blocked:     f.bool(blockedColumn),
			Each:        f.bool(eachColumn),
		},
		Labels:    f.labels(labelsColumn),
		ExpiresAt: f.time(expiresColumn),
		CreatedAt: f.time(createdColumn),
		UpdatedAt: f.time(updatedColumn),
		Version:   f.number(versionColumn),
	}
	return c, f.err
}

// key decodes the columns of a key, which are those from the given one.
func (f *fields) key() (Key, error) {
	k := Key{ID: f.text(1), CreatedAt: f.time(3), ExpiresAt: f.time(4)}
	if copy(k.Digest[:], f.columns[2]) != len(f.columns[2]) || len(f.columns[2]) != len(k.Digest) {
		f.fail(2, "is no SHA-256")
	}
	if f.err != nil {
		return Key{}, errors.New("an API key: " + f.err.Error())
	}
	return k, nil
}

// plan decodes a plan.
func (f *fields) plan() (Plan, error) {
	p := Plan{
		Name: f.text(0),
		Terms: limiter.Terms{
			Limit:       limiter.Limit{Capacity: f.number(1), RatePerSecond: f.float(2)},
			MaxInFlight: f.number(3),
		},
		CreatedAt: f.time(4),
		UpdatedAt: f.time(5),
		Version:   f.number(6),
	}
	if f.err != nil {
		return p, f.err
	}
	if !IsName(p.Name) {
		return p, errors.New("a name has " + AllowedName)
	}
	return p, CheckTerms(p.Terms)
}
