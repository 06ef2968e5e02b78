package rest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

func TestFaults(t *testing.T) {
	for code, status := range map[Code]int{
		Malformed: 400, TooLarge: 413, NotFound: 404, Exists: 409, Invalid: 422, Unavailable: 503,
	} {
		var log bytes.Buffer
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/path")
		Handler(zerolog.New(&log), func(context.Context, *fasthttp.RequestCtx) error {
			return &Fault{Code: code, Message: "a message", Field: "a.field", Cause: errors.New("the cause")}
		})(&ctx)
		body := string(ctx.Response.Body())
		if ctx.Response.StatusCode() != status || string(ctx.Response.Header.ContentType()) != "application/problem+json" ||
			!strings.Contains(body, `"detail":"a message","field":"a.field"`) || strings.Contains(body, "the cause") {
			t.Errorf("code %d: got %s", code, &ctx.Response)
		}
		for _, part := range []string{`"error":"the cause"`, `"path":"/path"`, "call failed"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("code %d: the log is %s, want %s in it", code, &log, part)
			}
		}
	}
}

func TestHandler(t *testing.T) {
	var log bytes.Buffer
	var got context.Context
	var failure error
	handler := Handler(zerolog.New(&log), func(ctx context.Context, r *fasthttp.RequestCtx) error {
		got = ctx
		WriteJSON(r, 201, map[string]string{"a": "<b>"})
		return failure
	}, "known")

	var ctx fasthttp.RequestCtx
	handler(&ctx)
	if ctx.Response.StatusCode() != 201 || string(ctx.Response.Body()) != "{\"a\":\"<b>\"}\n" ||
		string(ctx.Response.Header.ContentType()) != "application/json" {
		t.Errorf("got %s", &ctx.Response)
	}
	if got.Done() != nil {
		t.Error("the context of the call can be cancelled")
	}

	got = nil
	ctx.Request.SetRequestURI("/?unknown=1")
	if handler(&ctx); got != nil || ctx.Response.StatusCode() != 422 {
		t.Errorf("an unknown parameter is answered with %s", &ctx.Response)
	}
	if log.Len() > 0 {
		t.Errorf("the log is %s", &log)
	}

	defer func() {
		if recover() == nil {
			t.Error("an error that is not a Fault does not panic")
		}
	}()
	failure = errors.New("not a fault")
	ctx.Request.SetRequestURI("/?known=1")
	handler(&ctx)
}

func TestShorten(t *testing.T) {
	for value, want := range map[string]string{
		"":                             "",
		strings.Repeat("x", 100):       strings.Repeat("x", 100),
		strings.Repeat("x", 101):       strings.Repeat("x", 100) + "…",
		"x" + strings.Repeat("ü", 100): "x" + strings.Repeat("ü", 49) + "…",
	} {
		if got := Shorten(value); got != want {
			t.Errorf("%q is shortened to %q, want %q", value, got, want)
		}
	}
}
