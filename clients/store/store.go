package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"loadbalancer/limiter"
)

// Errors of a store. Any other means that the store is unavailable, and that nothing was written.
var (
	ErrNotFound = errors.New("no such client or plan")
	ErrKeyTaken = errors.New("another client has the API key")
	// ErrUnknown means that the store may have written, or may not: it went away in between.
	ErrUnknown = errors.New("whether the store has written is unknown")
	ErrClosed  = errors.New("the store is closed")
)

// Store is where the clients are kept. It is safe for concurrent use.
type Store interface {
	// Write runs decide in a transaction that no other one overlaps, in this process or in another,
	// and returns what was changed. It is durable when Write returns. An error of decide ends the
	// transaction without a change and is returned as it is. decide may run more than once.
	Write(ctx context.Context, decide func(Tx) error) (Changes, error)
	// Audit returns at most limit entries of the audit before the given one, the latest first.
	// before 0 stands for the end.
	Audit(ctx context.Context, before int64, limit int) ([]Entry, error)
	Close() error
}

// Tx is what a transaction reads and writes. It reads its own writes. All clients of one write have
// the same Version. A Tx is not safe for concurrent use, and its errors end the transaction.
type Tx interface {
	// Clients returns those of the clients that exist.
	Clients(ids []limiter.ID) (map[limiter.ID]Client, error)
	// Holders returns the clients that have the keys, by key.
	Holders(keys []limiter.KeyDigest) (map[limiter.KeyDigest]limiter.ID, error)
	// Put stores clients in place of those with the same IDs. It returns ErrKeyTaken if a key is
	// another client's, which Holders tells beforehand.
	Put(clients []Client) error
	// Delete deletes the clients, which exist.
	Delete(ids []limiter.ID) error

	// Plan returns ErrNotFound if there is no such plan.
	Plan(name string) (Plan, error)
	PutPlan(p Plan) error
	DeletePlan(name string) error
	// PlanUsers returns the number of clients with the plan.
	PlanUsers(name string) (int, error)
	// Overriding returns the clients with the plan that have a capacity or a rate of their own.
	Overriding(plan string) ([]Client, error)

	// Note appends to the audit. The store gives the ID.
	Note(e Entry) error
	// Reply returns what was remembered under an Idempotency-Key, if it is not older than
	// ReplyAge.
	Reply(key string) (r Reply, found bool, err error)
	Remember(r Reply) error
}

// Records are clients and plans to read, at one version of the store. They are safe for concurrent
// use.
type Records interface {
	// Position is that of the last change among the records.
	Position() Position
	// Client returns ErrNotFound if there is no such client.
	Client(id limiter.ID) (Client, error)
	// Clients returns at most limit of the clients behind after, in order: addresses and ranges
	// before names, IPv4 before IPv6, by address, a shorter prefix first; names bytewise. The zero
	// ID is before all clients.
	Clients(after limiter.ID, limit int) ([]Client, error)
	// AppendClients is Clients, appended to a page, which may be one that was read before.
	AppendClients(page []Client, after limiter.ID, limit int) ([]Client, error)
	// Plan returns ErrNotFound if there is no such plan.
	Plan(name string) (Plan, error)
	// Plans returns all plans by name.
	Plans() ([]Plan, error)
}

// Position is a point in the history of a store.
type Position struct {
	// History is random, made with the store and again when it is restored from a dump. Positions of different histories have nothing in
	// common.
	History string
	Version int64 // counts the changes
}

// Changes are what became of clients and plans up to a position.
type Changes struct {
	Position
	Clients      []Client // as they are now
	Deleted      []limiter.ID
	Plans        []Plan // as they are now
	DeletedPlans []string
	Bad          []Bad // rows that cannot be read; they are in no other field
}

// Bad is a row, written by hand, that is no client.
type Bad struct {
	ID  limiter.ID // as far as it can be told, else zero
	Err error      // says which column, and what is allowed
	sum Sum        // of the row
}

// Entry is one change in the audit. An import is one entry for each batch.
type Entry struct {
	ID     int64           // grows
	At     time.Time       // UTC, whole microseconds
	Who    string          // name of the token, or "local"
	From   string          // address of the caller
	Action string          // such as "create", "change", "delete", "import"
	Target string          // the client, or "plan " and its name
	Before json.RawMessage // as the API shows it, without keys; null where there was nothing
	After  json.RawMessage // as Before
}

// Reply is the response to a request with an Idempotency-Key.
type Reply struct {
	Key    string
	Digest [32]byte // SHA-256 of what was asked
	Status int
	Body   []byte
	At     time.Time
}

// ReplyAge is how long a Reply is remembered.
const ReplyAge = 24 * time.Hour

// Bounds are those of an audit. Older entries are dropped when new ones come.
type Bounds struct {
	MaxAge   time.Duration
	MaxCount int // 0: there is no audit
}

// Now returns the time as a store keeps it.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
