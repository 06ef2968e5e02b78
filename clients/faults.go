package clients

import (
	"errors"
	"fmt"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// errNotLoaded is the error of a call before the clients have come for the first time.
var errNotLoaded = errors.New("the clients are not loaded yet")

// retryAfter is told with 503, in seconds.
const retryAfter = 1

// fault returns what the caller is told of an error, or nil for nil.
func (u *usecase) fault(id limiter.ID, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*rest.Fault](err); ok {
		return f
	}
	if r, ok := errors.AsType[*replay](err); ok {
		return r
	}
	unavailable := &rest.Fault{Code: rest.Unavailable, Cause: err, RetryAfter: retryAfter}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFoundFault(id)
	case errors.Is(err, store.ErrKeyTaken):
		return keyTakenFault()
	case errors.Is(err, store.ErrUnknown):
		unavailable.Message = "the client store went away during the call, and may have written the change; read it again when the store is back"
		unavailable.Members = map[string]any{"outcome": "unknown"}
	case errors.Is(err, errNotLoaded):
		unavailable.Cause = nil
		unavailable.Message = "the clients are not loaded yet; try again later"
	default:
		unavailable.Message = "the client store is unavailable; nothing was written and limits stay as they are, try again later"
	}
	return unavailable
}

// countOfClients returns a number of clients in words.
func countOfClients(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

func notFoundFault(id limiter.ID) *rest.Fault {
	return &rest.Fault{Code: rest.NotFound, Message: fmt.Sprintf("there is no client %s", id)}
}

func existsFault(id limiter.ID) *rest.Fault {
	return &rest.Fault{Code: rest.Exists, Field: identityField(id),
		Message: fmt.Sprintf("the client %s exists already; PUT changes it", id)}
}

// keyTakenFault does not name the client that has the key: the caller may have guessed it.
func keyTakenFault() *rest.Fault {
	return &rest.Fault{Code: rest.Exists, Field: fieldKey,
		Message: "another client has this api_key already; each needs one of its own"}
}
