package clients

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// addKey gives a client one key more. Where there is no room for it, keys that have expired make
// some.
func (u *usecase) addKey(ctx context.Context, k call, id limiter.ID, d draftKey) (changed store.Client, added store.Key, err error) {
	err = u.changeKeys(ctx, k, id, &changed, func(tx store.Tx, old []store.Key) (keys []store.Key, err error) {
		if slices.ContainsFunc(old, func(has store.Key) bool { return has.Digest == d.digest }) {
			return nil, &rest.Fault{Code: rest.Exists, Field: fieldKey, Message: fmt.Sprintf("the client %s has this key already", id)}
		}
		if slices.ContainsFunc(old, func(has store.Key) bool { return has.ID == d.id }) {
			return nil, &rest.Fault{Code: rest.Exists, Field: fieldKeyID, Message: fmt.Sprintf("the client %s has a key with this id already", id)}
		}
		now := store.Now()
		if keys = roomForKey(old, now); len(keys) == limiter.MaxKeys {
			return nil, &rest.Fault{Code: rest.Exists, Field: fieldKey,
				Message: fmt.Sprintf("the client %s has %d keys, the most it may have; DELETE one first", id, limiter.MaxKeys)}
		}
		if added, err = d.resolve(keys, now); err != nil {
			return nil, err
		}
		return append(keys, added), k.once.keep(tx, http.StatusCreated, showKey(added))
	})
	return changed, added, u.fault(id, err)
}

// roomForKey returns a copy of the keys, without those that have expired if there are too many.
func roomForKey(keys []store.Key, now time.Time) []store.Key {
	keys = slices.Clone(keys)
	if len(keys) < limiter.MaxKeys {
		return keys
	}
	return slices.DeleteFunc(keys, func(k store.Key) bool { return k.Expired(now) })
}

// removeKey takes a key from a client that has others.
func (u *usecase) removeKey(ctx context.Context, k call, id limiter.ID, key string) (changed store.Client, err error) {
	err = u.changeKeys(ctx, k, id, &changed, func(_ store.Tx, old []store.Key) ([]store.Key, error) {
		at := slices.IndexFunc(old, func(has store.Key) bool { return has.ID == key })
		switch {
		case at < 0:
			return nil, &rest.Fault{Code: rest.NotFound, Message: fmt.Sprintf("the client %s has no key with the id %s", id, rest.Quote(key))}
		case len(old) == 1:
			return nil, &rest.Fault{Code: rest.Exists,
				Message: fmt.Sprintf("this is the last key of the client %s; POST another one first, or DELETE the client", id)}
		}
		return slices.Delete(slices.Clone(old), at, at+1), nil
	})
	return changed, u.fault(id, err)
}

// changeKeys replaces the keys of a client by what edit makes of them, which must not change the old
// ones.
func (u *usecase) changeKeys(ctx context.Context, k call, id limiter.ID, changed *store.Client,
	edit func(tx store.Tx, old []store.Key) ([]store.Key, error)) error {
	return u.write(ctx, k, func(tx store.Tx) error {
		old, err := matching(tx, k.match, id, false)
		if err != nil {
			return err
		}
		if id.Name == "" {
			return keyWithoutName()
		}
		*changed = *old
		if changed.Keys, err = edit(tx, old.Keys); err != nil {
			return err
		}
		changed.UpdatedAt = store.Now()
		if err := put(tx, changed); err != nil {
			return err
		}
		return note(tx, k, "change", id, old, changed)
	})
}
