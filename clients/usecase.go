package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// storeTimeout bounds one call of the store, so that a store that does not respond cannot block the
// API for long.
const storeTimeout = 3 * time.Second

// usecase has the rules: what a write needs, what it changes, and what is noted of it. It is safe
// for concurrent use.
type usecase struct {
	kept    atomic.Pointer[keeper] // another one when the store is open
	limiter *limiter.Limiter
}

func (u *usecase) keeper() keeper { return *u.kept.Load() }

func (u *usecase) use(k keeper) { u.kept.Store(&k) }

// call is a write as its caller asked for it.
type call struct {
	by    rest.Caller
	match rest.Match // If-Match
	once  once       // Idempotency-Key
}

// create registers a client.
func (u *usecase) create(ctx context.Context, k call, d draft) (created store.Client, err error) {
	err = u.write(ctx, k, func(tx store.Tx) error {
		if _, exists, err := find(tx, d.id); err != nil {
			return err
		} else if exists {
			return existsFault(d.id)
		}
		created, err = d.client(d.id, nil, store.Now())
		if err != nil {
			return err
		}
		if err := put(tx, &created); err != nil {
			return err
		}
		if err := note(tx, k, "create", d.id, nil, &created); err != nil {
			return err
		}
		return k.once.keep(tx, http.StatusCreated, show(created))
	})
	return created, u.fault(d.id, err)
}

// change replaces a client by what the draft makes of it. If the client does not exist, it is
// created where that is asked for.
func (u *usecase) change(ctx context.Context, k call, id limiter.ID, create bool, edit func(old *store.Client) (draft, error)) (changed store.Client, created bool, err error) {
	err = u.write(ctx, k, func(tx store.Tx) error {
		old, err := matching(tx, k.match, id, create)
		if err != nil {
			return err
		}
		d, err := edit(old)
		if err != nil {
			return err
		}
		if err := checkChange(d, id); err != nil {
			return err
		}
		created = old == nil
		if changed, err = d.client(id, old, store.Now()); err != nil {
			return err
		}
		if err := put(tx, &changed); err != nil {
			return err
		}
		return note(tx, k, map[bool]string{true: "create", false: "change"}[created], id, old, &changed)
	})
	return changed, created, u.fault(id, err)
}

func (u *usecase) remove(ctx context.Context, k call, id limiter.ID) error {
	err := u.write(ctx, k, func(tx store.Tx) error {
		old, err := matching(tx, k.match, id, false)
		if err != nil {
			return err
		}
		if err := tx.Delete([]limiter.ID{id}); err != nil {
			return err
		}
		return note(tx, k, "delete", id, old, nil)
	})
	return u.fault(id, err)
}

// write runs decide in a transaction, unless the call was made before.
func (u *usecase) write(ctx context.Context, k call, decide func(store.Tx) error) error {
	if !u.keeper().state().loaded {
		return errNotLoaded
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return u.keeper().write(ctx, func(tx store.Tx) error {
		if err := k.once.check(tx); err != nil {
			return err
		}
		return decide(tx)
	})
}

// find returns a client in a transaction, and whether it exists.
func find(tx store.Tx, id limiter.ID) (c store.Client, exists bool, err error) {
	found, err := tx.Clients([]limiter.ID{id})
	if err != nil {
		return store.Client{}, false, err
	}
	c, exists = found[id]
	return c, exists, nil
}

// matching returns the client that a call is about, or nil if it does not exist and need not. The
// condition of the call has to hold.
func matching(tx store.Tx, match rest.Match, id limiter.ID, create bool) (*store.Client, error) {
	c, exists, err := find(tx, id)
	switch {
	case err != nil:
		return nil, err
	case !exists && !create:
		return nil, notFoundFault(id)
	case !exists && !match.Holds(""):
		return nil, &rest.Fault{Code: rest.Changed, Message: fmt.Sprintf("there is no client %s, and If-Match asks for one", id)}
	case !exists:
		return nil, nil
	case !match.Holds(tag(c.Version, c.UpdatedAt)):
		return nil, &rest.Fault{Code: rest.Changed,
			Message: fmt.Sprintf("the client %s was changed meanwhile: its ETag is %s; GET it and decide again", id, tag(c.Version, c.UpdatedAt))}
	}
	return &c, nil
}

// put stores a client if it may be: its plan exists, the limiter can have its terms, and its keys
// are free. It sets the version.
func put(tx store.Tx, c *store.Client) error {
	plan, err := planOf(tx, c)
	if err != nil {
		return err
	}
	if err := checkClient(c, plan); err != nil {
		return err
	}
	holders, err := tx.Holders(digestsOf(c))
	if err != nil {
		return err
	}
	for _, holder := range holders {
		if holder != c.ID {
			return store.ErrKeyTaken
		}
	}
	one := []store.Client{*c}
	err = tx.Put(one)
	*c = one[0]
	return err
}

// planOf returns the plan of a client, or nil if it has none.
func planOf(tx store.Tx, c *store.Client) (*store.Plan, error) {
	if c.Plan == "" {
		return nil, nil
	}
	plan, err := tx.Plan(c.Plan)
	if isNotFound(err) {
		return nil, rest.Wrong(fieldPlan, rest.Quote(c.Plan), "the name of a plan that exists")
	}
	return &plan, err
}

// checkClient returns a fault unless the limiter can have the client with its plan.
func checkClient(c *store.Client, plan *store.Plan) error {
	if f := checkTerms(c.Terms(plan)); f != nil {
		return f
	}
	if c.Own.Each && (c.ID.Name != "" || c.ID.Prefix.IsSingleIP()) {
		return rest.Wrong(fieldEach, "true", "false for a client that is no range")
	}
	return nil
}

func digestsOf(c *store.Client) []limiter.KeyDigest {
	if len(c.Keys) == 0 {
		return nil
	}
	digests := make([]limiter.KeyDigest, len(c.Keys))
	for i := range c.Keys {
		digests[i] = c.Keys[i].Digest
	}
	return digests
}

// note appends a change of a client to the audit.
func note(tx store.Tx, k call, action string, id limiter.ID, before, after *store.Client) error {
	return tx.Note(entry(k, action, id.String(), showOrNull(before), showOrNull(after)))
}

// entry returns an entry of the audit, of this moment.
func entry(k call, action, target string, before, after json.RawMessage) store.Entry {
	e := store.Entry{At: store.Now(), Who: k.by.Name(), Action: action, Target: target, Before: before, After: after}
	if k.by.Address.IsValid() { // a caller on a unix socket has none
		e.From = k.by.Address.String()
	}
	return e
}

var null = json.RawMessage("null")

func showOrNull(c *store.Client) json.RawMessage {
	if c == nil {
		return null
	}
	return mustJSON(show(*c))
}

// mustJSON returns the JSON of a value, as rest.WriteJSON writes it but for the line break.
func mustJSON(value any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", value, err))
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

func (u *usecase) get(id limiter.ID) (store.Client, error) {
	if !u.keeper().state().loaded {
		return store.Client{}, u.fault(id, errNotLoaded)
	}
	c, err := u.keeper().Client(id)
	return c, u.fault(id, err)
}

// list returns at most limit clients behind after that the filter is on, and whether there are more.
func (u *usecase) list(after limiter.ID, limit int, f filter) (page []store.Client, more bool, err error) {
	return pageOf(u, after, limit, func(c *store.Client) (store.Client, bool) { return *c, f.on(c) })
}

// pageOf returns what at most limit of the clients behind after are turned into, passing over those
// for which of returns false, and whether there are more.
func pageOf[T any](u *usecase, after limiter.ID, limit int, of func(*store.Client) (T, bool)) (page []T, more bool, err error) {
	if !u.keeper().state().loaded {
		return nil, false, u.fault(after, errNotLoaded)
	}
	for {
		found, err := u.keeper().Clients(after, limit+1)
		if err != nil {
			return nil, false, u.fault(after, err)
		}
		for i := range found {
			one, ok := of(&found[i])
			if !ok {
				continue
			}
			if len(page) == limit {
				return page, true, nil
			}
			page = append(page, one)
		}
		if len(found) <= limit {
			return page, false, nil
		}
		after = found[limit].ID
	}
}

func checkTerms(t limiter.Terms) *rest.Fault {
	field, allowed, ok := t.Check()
	if ok {
		return nil
	}
	var value any
	switch field {
	case fieldCapacity:
		value = t.Capacity
	case fieldRate:
		value = t.RatePerSecond
	case fieldMaxInFlight:
		value = t.MaxInFlight
	case fieldTrial:
		value = "there"
	case trialCapacity:
		value = t.Trial.Capacity
	case trialRate:
		value = t.Trial.RatePerSecond
	default:
		panic("BUG: terms have no field " + field)
	}
	return rest.Wrong(field, fmt.Sprint(value), allowed)
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
