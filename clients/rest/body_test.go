package rest

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"
)

func TestReadBody(t *testing.T) {
	long := strings.Repeat("x", MaxBody)
	const chunked = -1 // the length of such a body
	for name, c := range map[string]struct {
		set  func(r *fasthttp.Request)
		want int // bytes
		code Code
	}{
		"none":           {set: func(*fasthttp.Request) {}},
		"whole":          {set: func(r *fasthttp.Request) { r.SetBodyString(long) }, want: MaxBody},
		"whole, long":    {set: func(r *fasthttp.Request) { r.SetBodyString(long + "x") }, code: TooLarge},
		"sized":          {set: stream(strings.NewReader(long), MaxBody), want: MaxBody},
		"sized, long":    {set: stream(strings.NewReader(long+"x"), MaxBody+1), code: TooLarge},
		"chunked":        {set: stream(strings.NewReader(long), chunked), want: MaxBody},
		"chunked, long":  {set: stream(strings.NewReader(long+"x"), chunked), code: TooLarge},
		"cut":            {set: stream(iotest.ErrReader(io.ErrUnexpectedEOF), 5), code: Malformed},
		"late":           {set: stream(iotest.ErrReader(os.ErrDeadlineExceeded), 5), code: Late},
		"at the end":     {set: stream(iotest.ErrReader(net.ErrClosed), 5), code: Unavailable},
		"long, then cut": {set: stream(iotest.ErrReader(io.ErrUnexpectedEOF), MaxBody+1), code: TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var ctx fasthttp.RequestCtx
			c.set(&ctx.Request)
			body, err := ReadBody(&ctx)
			if err == nil {
				if c.want == 0 && name != "none" || len(body) != c.want {
					t.Errorf("got %d bytes, want %d", len(body), c.want)
				}
				return
			}
			if f, ok := errors.AsType[*Fault](err); !ok || c.want != 0 || f.Code != c.code {
				t.Errorf("the error is %v, want code %d", err, c.code)
			}
		})
	}
}

func stream(body io.Reader, size int) func(r *fasthttp.Request) {
	return func(r *fasthttp.Request) {
		r.SetBodyStream(body, size)
		r.Header.SetContentLength(size)
	}
}
