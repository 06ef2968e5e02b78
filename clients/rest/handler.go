// Package rest has what an HTTP API with JSON bodies needs, whatever the API is about: it reads
// bodies and query parameters strictly, and answers with JSON or with a problem (RFC 9457).
//
// It also has the conditions of a request (IfMatch, IdempotencyKey), the caller of a call (CallerOf), and
// bodies of any length in either direction (Lines, Stream), which hold little memory.
//
// Other bodies are bounded by MaxBody, and a field or parameter that is unknown or appears twice is
// refused. A response never holds the cause of a Fault. All functions are safe for concurrent use.
//
// The package knows no clients, no store and no limiter: which fields exist and what their values
// mean is up to its callers.
package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// Call is one call of an API. It writes the response, or returns a *Fault.
type Call func(context.Context, *fasthttp.RequestCtx) error

// Handler returns a handler that runs call and answers with a problem if it fails. It panics if the
// error is not a *Fault. The cause of a fault is logged. The query may have only the given
// parameters, as with Parameters.
//
// A call runs to its end even while the server shuts down. A RequestCtx is cancelled then, so the
// call gets a context of its own, which is never cancelled.
func Handler(log zerolog.Logger, call Call, parameters ...string) fasthttp.RequestHandler {
	return Parameters(func(ctx *fasthttp.RequestCtx) {
		err := call(context.Background(), ctx)
		if err == nil {
			if s, ok := ctx.Response.BodyStream().(*streamed); ok {
				s.log = log
			}
			return
		}
		f, ok := errors.AsType[*Fault](err)
		if !ok {
			panic(fmt.Sprintf("BUG: a call failed with %T: %v", err, err))
		}
		if f.Cause != nil {
			log.Error().Err(f.Cause).Bytes("method", ctx.Method()).Bytes("path", ctx.Path()).
				Int("status", f.Code.status()).Msg("call failed")
		}
		f.write(ctx)
	}, parameters...)
}

// WithoutSlash returns a handler that routes a request again without its trailing slash. It is
// registered for any method at a path with the slash: a router cannot have a path both with and
// without it for one method, but falls back to the routes for any method if none matches the
// request's.
func WithoutSlash(r *router.Router) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		uri := ctx.URI()
		uri.SetPathBytes(bytes.TrimSuffix(uri.PathOriginal(), []byte("/")))
		r.Handler(ctx)
	}
}

// write makes the response the problem of f.
func (f *Fault) write(ctx *fasthttp.RequestCtx) {
	if f.RetryAfter > 0 {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	writeProblem(ctx, f.Code.status(), f.Field, f.Message, f.Members)
}
