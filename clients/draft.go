package clients

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// draft is a client as a body describes it.
type draft struct {
	id        limiter.ID  // zero: the body has none
	keys      *[]draftKey // nil: the body has none, and the client keeps those it has
	own       limiter.Terms
	plan      string
	labels    map[string]string
	expiresAt time.Time
}

// draftKey is an entry of api_keys: a key that the client has, by its id, or a new one.
type draftKey struct {
	id        string            // "": the key gets one
	digest    limiter.KeyDigest // zero: of a key that the client has
	expiresAt time.Time
	expires   bool // expiresAt is in the body
}

// client makes a draft into the client that is stored in place of old, which is nil for a new one.
func (d *draft) client(id limiter.ID, old *store.Client, now time.Time) (store.Client, error) {
	c := store.Client{
		ID: id, Own: d.own, Plan: d.plan, Labels: d.labels, ExpiresAt: d.expiresAt,
		CreatedAt: now, UpdatedAt: now,
	}
	var keys []store.Key
	if old != nil {
		c.CreatedAt, keys = old.CreatedAt, old.Keys
	}
	var err error
	c.Keys, err = d.resolveKeys(id, keys, now)
	return c, err
}

// resolveKeys returns the keys that the client has from now on.
func (d *draft) resolveKeys(id limiter.ID, old []store.Key, now time.Time) ([]store.Key, error) {
	switch {
	case id.Name == "" && d.keys != nil:
		return nil, keyWithoutName()
	case id.Name == "":
		return nil, nil
	case d.keys == nil && len(old) == 0:
		return nil, rest.Missing(fieldKey)
	case d.keys == nil:
		return old, nil
	}
	var keys []store.Key
	for _, entry := range *d.keys {
		key, err := entry.resolve(old, now)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k store.Key) bool { return k.ID == key.ID || k.Digest == key.Digest }) {
			return nil, &rest.Fault{Code: rest.Invalid, Field: fieldKeys, Message: "a key is in api_keys twice"}
		}
		keys = append(keys, key)
	}
	store.SortKeys(keys)
	return keys, nil
}

// resolve returns the key that an entry stands for. A key that the client has already keeps its id
// and its time.
func (e draftKey) resolve(old []store.Key, now time.Time) (store.Key, error) {
	has := slices.IndexFunc(old, func(k store.Key) bool {
		return e.digest != (limiter.KeyDigest{}) && k.Digest == e.digest || e.digest == (limiter.KeyDigest{}) && k.ID == e.id
	})
	switch {
	case has >= 0:
		key := old[has]
		if e.expires {
			key.ExpiresAt = e.expiresAt
		}
		return key, nil
	case e.digest == (limiter.KeyDigest{}):
		return store.Key{}, rest.Wrong(fieldKeys, "an entry with the id "+rest.Quote(e.id),
			"the id of a key that the client has, or a new key in api_key")
	}
	key := store.Key{ID: e.id, Digest: e.digest, CreatedAt: now, ExpiresAt: e.expiresAt}
	if key.ID == "" {
		key.ID = strings.ToLower(rand.Text()[:12])
	}
	return key, nil
}
