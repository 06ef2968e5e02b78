package clients

import (
	"fmt"
	"io"

	"github.com/valyala/fasthttp"
)

const (
	maxBody = 1 << 20 // bytes
	// maxUnread is how much of a refused body is read and thrown away, in bytes. Closing a connection with
	// unread bytes resets it, and the caller would see that instead of the 413.
	maxUnread = 8 << 20
)

// readBody returns at most maxBody bytes. The server may stream: then its own limit on bodies does not hold.
func readBody(ctx *fasthttp.RequestCtx) ([]byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		if body := ctx.Request.Body(); len(body) <= maxBody {
			return body, nil
		}
		return nil, errTooLarge()
	}
	if ctx.Request.Header.ContentLength() <= maxBody { // negative if chunked
		body, err := io.ReadAll(io.LimitReader(stream, maxBody+1))
		if err != nil {
			return nil, &fault{code: malformed, message: "the body could not be read to its end", cause: err}
		}
		if len(body) <= maxBody {
			return body, nil
		}
	}
	// The 413 is due whether or not the rest arrives.
	_, _ = io.CopyN(io.Discard, stream, maxUnread)
	return nil, errTooLarge()
}

func errTooLarge() *fault {
	return &fault{code: tooLarge, message: fmt.Sprintf("the body is too large; allowed are %d bytes", maxBody)}
}
