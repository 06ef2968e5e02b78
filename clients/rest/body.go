package rest

import (
	"fmt"
	"io"

	"github.com/valyala/fasthttp"
)

const (
	MaxBody = 1 << 20 // bytes
	// maxUnread is how much of a refused body is read and thrown away, in bytes. Closing a connection with
	// unread bytes resets it, and the caller would see that instead of the 413.
	maxUnread = 8 << 20
)

// ReadBody returns at most MaxBody bytes. The server may stream: then its own limit on bodies does not hold.
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
	// The 413 is due whether or not the rest arrives.
	_, _ = io.CopyN(io.Discard, stream, maxUnread)
	return nil, errTooLarge()
}

func errTooLarge() *Fault {
	return &Fault{Code: TooLarge, Message: fmt.Sprintf("the body is too large; allowed are %d bytes", MaxBody)}
}
