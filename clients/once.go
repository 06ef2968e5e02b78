package clients

import (
	"crypto/sha256"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
)

// once is a request with an Idempotency-Key, which has an effect once. The zero value is one
// without.
type once struct {
	key    string            // "": none
	digest [sha256.Size]byte // of what was asked
}

// newOnce returns the request of a caller with the key. Callers do not share keys.
func newOnce(by rest.Caller, key string, body []byte) once {
	if key == "" {
		return once{}
	}
	return once{key: by.Name() + "/" + key, digest: sha256.Sum256(body)}
}

// replay is the error of a request that was answered before, with that answer.
type replay struct {
	status int
	body   []byte
}

// Error tells that this is none to the caller.
func (r *replay) Error() string { return "the call was answered before" }

// check returns a *replay if the request was answered before, or a fault if its key was used for
// another.
func (o once) check(tx store.Tx) error {
	if o.key == "" {
		return nil
	}
	r, found, err := tx.Reply(o.key)
	switch {
	case err != nil || !found:
		return err
	case r.Digest != o.digest:
		return &rest.Fault{Code: rest.Invalid, Field: "Idempotency-Key",
			Message: "Idempotency-Key was used for a call with another body in the last 24 hours; allowed is a new one"}
	}
	return &replay{status: r.Status, body: r.Body}
}

// keep remembers the answer for the next time.
func (o once) keep(tx store.Tx, status int, answer any) error {
	if o.key == "" {
		return nil
	}
	return tx.Remember(store.Reply{Key: o.key, Digest: o.digest, Status: status, Body: mustJSON(answer), At: store.Now()})
}
