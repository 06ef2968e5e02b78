package clients

import (
	"errors"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// importBatch are lines of an import that are decided in one transaction, at most one for a client.
type importBatch struct {
	lines []importLine
	ids   map[limiter.ID]bool
	bad   []badLine // lines that cannot be read
}

type importLine struct {
	number int
	draft  draft
}

func newImportBatch() *importBatch { return &importBatch{ids: map[limiter.ID]bool{}} }

func (b *importBatch) size() int { return len(b.lines) + len(b.bad) }

func (b *importBatch) has(id limiter.ID) bool { return b.ids[id] }

func (b *importBatch) add(number int, d draft) {
	b.lines = append(b.lines, importLine{number, d})
	b.ids[d.id] = true
}

// outcome is what becomes of a batch.
type outcome struct {
	clients                     []store.Client // to be written
	created, changed, unchanged int
	bad                         []badLine
}

// outcomeJSON is an outcome in the audit.
type outcomeJSON struct {
	Created int    `json:"created"`
	Changed int    `json:"changed"`
	First   string `json:"first"` // of the clients, by line
	Last    string `json:"last"`
}

func (o *outcome) note() outcomeJSON {
	return outcomeJSON{o.created, o.changed, o.clients[0].ID.String(), o.clients[len(o.clients)-1].ID.String()}
}

// imported is a line that may be written.
type imported struct {
	number int
	client store.Client
	before *store.Client // nil: it is new
}

// decide decides on each line. It reads all that the batch needs at once.
func (b *importBatch) decide(tx store.Tx) (outcome, error) {
	ids := make([]limiter.ID, 0, len(b.lines))
	for i := range b.lines {
		ids = append(ids, b.lines[i].draft.id)
	}
	old, err := tx.Clients(ids)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{bad: b.bad[:len(b.bad):len(b.bad)]}
	good, err := b.resolve(tx, old, &o)
	if err != nil {
		return outcome{}, err
	}
	if good, err = settleKeys(tx, good, &o); err != nil {
		return outcome{}, err
	}
	for i := range good {
		o.take(&good[i])
	}
	return o, nil
}

// resolve makes the drafts into clients. Lines that are bad are added to the outcome.
func (b *importBatch) resolve(tx store.Tx, old map[limiter.ID]store.Client, o *outcome) ([]imported, error) {
	good, plans, now := make([]imported, 0, len(b.lines)), planCache{}, store.Now()
	for i := range b.lines {
		line := &b.lines[i]
		one := imported{number: line.number}
		if before, exists := old[line.draft.id]; exists {
			one.before = &before
		}
		err := one.resolve(tx, &line.draft, plans, now)
		if f, isFault := errors.AsType[*rest.Fault](err); isFault {
			o.bad = append(o.bad, newBadLine(line.number, f))
			continue
		}
		if err != nil {
			return nil, err
		}
		good = append(good, one)
	}
	return good, nil
}

func (l *imported) resolve(tx store.Tx, d *draft, plans planCache, now time.Time) (err error) {
	if l.client, err = d.client(d.id, l.before, now); err != nil {
		return err
	}
	plan, err := plans.of(tx, &l.client)
	if err != nil {
		return err
	}
	return checkClient(&l.client, plan)
}

// take counts a line and has its client written if that changes something.
func (o *outcome) take(l *imported) {
	switch {
	case l.before == nil:
		o.created++
	case l.isSame():
		o.unchanged++
		return
	default:
		o.changed++
	}
	o.clients = append(o.clients, l.client)
}

func (l *imported) isSame() bool {
	same := l.client
	same.UpdatedAt, same.Version = l.before.UpdatedAt, l.before.Version
	return same.Equal(l.before)
}

// settleKeys leaves out the lines whose keys other clients have and keep. Keys may pass between the
// clients of a batch. Of two lines that give one key to two clients the first counts, unless it is
// bad itself.
func settleKeys(tx store.Tx, lines []imported, o *outcome) ([]imported, error) {
	var digests []limiter.KeyDigest
	for i := range lines {
		digests = append(digests, digestsOf(&lines[i].client)...)
	}
	if len(digests) == 0 {
		return lines, nil
	}
	holders, err := tx.Holders(digests)
	if err != nil {
		return nil, err
	}
	for { // a client whose line is bad keeps its keys, which others may have counted on
		left := giveKeys(lines, holders, o)
		if len(left) == len(lines) {
			return left, nil
		}
		lines = left
	}
}

// giveKeys returns the lines whose keys are free, given that all lines are written.
func giveKeys(lines []imported, holders map[limiter.KeyDigest]limiter.ID, o *outcome) (left []imported) {
	written := make(map[limiter.ID]bool, len(lines))
	owners := make(map[limiter.KeyDigest]limiter.ID, len(holders))
	for i := range lines {
		id := lines[i].client.ID
		written[id] = true
		for _, key := range digestsOf(&lines[i].client) {
			if holders[key] == id {
				owners[key] = id
			}
		}
	}
	for key, holder := range holders {
		if !written[holder] {
			owners[key] = holder
		}
	}
	for i := range lines {
		if claim(owners, &lines[i].client) {
			left = append(left, lines[i])
		} else {
			o.bad = append(o.bad, newBadLine(lines[i].number, keyTakenFault()))
		}
	}
	return left
}

// claim gives a client its keys, unless one of them is another's.
func claim(owners map[limiter.KeyDigest]limiter.ID, c *store.Client) bool {
	keys := digestsOf(c)
	for _, key := range keys {
		if owner, owned := owners[key]; owned && owner != c.ID {
			return false
		}
	}
	for _, key := range keys {
		owners[key] = c.ID
	}
	return true
}

// planCache are the plans that a batch has looked up, or the faults of those that do not exist.
type planCache map[string]lookedUp

type lookedUp struct {
	plan *store.Plan
	err  error
}

// of returns the plan of a client, or nil if it has none.
func (p planCache) of(tx store.Tx, c *store.Client) (*store.Plan, error) {
	found, known := p[c.Plan]
	if !known {
		found.plan, found.err = planOf(tx, c)
		p[c.Plan] = found
	}
	return found.plan, found.err
}
