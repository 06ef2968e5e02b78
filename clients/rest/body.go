package rest

import (
	"fmt"
	"io"

	"github.com/valyala/fasthttp"
)

// MaxBody is the length of the longest body that ReadBody returns, in bytes.
const MaxBody = 1 << 20

// maxUnread is how much of a refused body is read and discarded, in bytes. Closing a connection
// with unread bytes resets it, and the caller would see the reset instead of the 413.
const maxUnread = 8 << 20

// ReadBody returns the body of a request, which is valid until the handler returns. It returns a
// Fault if the body is longer than MaxBody or cannot be read. ReadBody applies the limit itself
// because the server's own limit does not hold for a streamed body.
func ReadBody(ctx *fasthttp.RequestCtx) ([]byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		if body := ctx.Request.Body(); len(body) <= MaxBody {
			return body, nil
		}
		return nil, errTooLarge()
	}
	if ctx.Request.Header.ContentLength() <= MaxBody { // negative if chunked
		body, err := io.ReadAll(io.LimitReader(stream, MaxBody+1))
		if err != nil {
			return nil, &Fault{Code: Malformed, Message: "the body could not be read to its end", Cause: err}
		}
		if len(body) <= MaxBody {
			return body, nil
		}
	}
	// The response is 413 whether or not the rest arrives.
	_, _ = io.CopyN(io.Discard, stream, maxUnread)
	return nil, errTooLarge()
}

func errTooLarge() *Fault {
	return &Fault{Code: TooLarge,
		Message: fmt.Sprintf("the body is too large; allowed are %d bytes", MaxBody)}
}
