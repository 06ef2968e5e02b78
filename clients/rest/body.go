package rest

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// MaxBody is the length of the longest body that ReadBody returns, in bytes.
const MaxBody = 1 << 20

// ReadBody returns the body of a request, which is valid until the handler returns. It returns a
// Fault if the body is longer than MaxBody or cannot be read; the rest of it is left to the server.
// ReadBody applies the limit itself because the server's own limit does not hold for a streamed
// body.
func ReadBody(ctx *fasthttp.RequestCtx) ([]byte, error) { return ReadBodyUpTo(ctx, MaxBody) }

// ReadBodyUpTo is ReadBody with another limit than MaxBody, in bytes.
func ReadBodyUpTo(ctx *fasthttp.RequestCtx, most int) ([]byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		if body := ctx.Request.Body(); len(body) <= most {
			return body, nil
		}
		return nil, errTooLarge(most)
	}
	if ctx.Request.Header.ContentLength() > most { // negative if chunked
		return nil, errTooLarge(most)
	}
	body, err := io.ReadAll(io.LimitReader(stream, int64(most)+1))
	if err != nil {
		return nil, bodyFault(err)
	}
	if len(body) > most {
		return nil, errTooLarge(most)
	}
	return body, nil
}

func errTooLarge(most int) *Fault {
	return &Fault{Code: TooLarge,
		Message: fmt.Sprintf("the body is too large; allowed are %d bytes", most)}
}

// bodyFault returns the fault of a body that could not be read to its end. A server that is about to
// end tells so with net.ErrClosed.
func bodyFault(err error) *Fault {
	var timeout net.Error
	switch {
	case errors.Is(err, net.ErrClosed):
		return &Fault{Code: Unavailable, RetryAfter: 1,
			Message: "the load balancer is shutting down and reads no more of the body"}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Fault{Code: Late, Message: "the rest of the body did not come in time"}
	}
	return &Fault{Code: Malformed, Message: "the body could not be read to its end", Cause: err}
}
