package rest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// sent makes a call and returns the response as fasthttp writes it, and what was logged.
func sent(t *testing.T, method string, produce func(*bufio.Writer) error) (response, log string, err error) {
	t.Helper()
	var ctx fasthttp.RequestCtx
	var lines, out bytes.Buffer
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI("/export")
	Handler(zerolog.New(&lines), func(_ context.Context, r *fasthttp.RequestCtx) error {
		return Stream(r, "text/csv", produce)
	})(&ctx)
	ctx.Response.SkipBody = ctx.IsHead()
	w := bufio.NewWriter(&out)
	err = ctx.Response.Write(w)
	_ = w.Flush()
	return out.String(), lines.String(), err
}

func TestStream(t *testing.T) {
	got, log, err := sent(t, "GET", func(w *bufio.Writer) error {
		_, _ = w.WriteString("a\n")
		_ = w.Flush()
		_, _ = w.WriteString("b\n")
		return nil
	})
	if err != nil || log != "" || !strings.HasSuffix(got, "\r\n\r\n2\r\na\n\r\n2\r\nb\n\r\n0\r\n\r\n") ||
		!strings.Contains(got, "Content-Type: text/csv\r\n") || !strings.Contains(got, "Transfer-Encoding: chunked\r\n") {
		t.Errorf("got %q, %v, logged %s", got, err, log)
	}
	got, _, err = sent(t, "HEAD", func(*bufio.Writer) error { t.Error("produced for HEAD"); return nil })
	if err != nil || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD: got %q, %v", got, err)
	}
}

// TestStreamThatFails checks that the end of the body is missing, and that the log says why.
func TestStreamThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func() error
		logged string
	}{
		"an error": {func() error { return errors.New("the disk is full") }, "the disk is full"},
		"a fault":  {func() error { return &Fault{Message: "away", Cause: errors.New("no route")} }, "no route"},
		"a panic":  {func() error { panic("BUG: made for this test") }, "BUG: made for this test"},
	} {
		got, log, err := sent(t, "GET", func(w *bufio.Writer) error {
			_, _ = w.WriteString("a\n")
			_ = w.Flush()
			return c.fail()
		})
		if err == nil || strings.Contains(got, "\r\n0\r\n") || !strings.Contains(log, c.logged) || !strings.Contains(log, `"path":"/export"`) {
			t.Errorf("%s: got %q, %v, logged %s", name, got, err, log)
		}
	}
}

// TestStreamToNobody checks that produce learns of a client that is gone, of which nothing is
// logged.
func TestStreamToNobody(t *testing.T) {
	var log bytes.Buffer
	s := &streamed{log: zerolog.New(&log), produce: func(w *bufio.Writer) error {
		for {
			if _, err := w.WriteString("more"); err != nil {
				return err
			}
		}
	}}
	if _, err := s.WriteTo(gone{}); err != io.ErrClosedPipe || log.Len() > 0 {
		t.Errorf("the error is %v, logged %s", err, &log)
	}
}

// gone takes nothing.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestStreamNeedsHTTP11(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetProtocol("HTTP/1.0")
	err := Stream(&ctx, "text/csv", nil)
	if f, ok := errors.AsType[*Fault](err); !ok || f.Code != OldProtocol {
		t.Errorf("the error is %v", err)
	}
}
