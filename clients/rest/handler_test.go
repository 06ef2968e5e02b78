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
		Late: 408, Changed: 412, Unsupported: 415, OldProtocol: 505,
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

// TestFaultMembers checks what a fault tells a program beside its status.
func TestFaultMembers(t *testing.T) {
	for _, c := range []struct {
		fault      *Fault
		retryAfter string
		body       string
	}{
		{&Fault{Code: Unavailable, Message: "away", RetryAfter: 3, Members: map[string]any{"outcome": "unknown"}}, "3",
			`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"away","outcome":"unknown"}`},
		{&Fault{Code: Exists, Message: "in <use>", Field: "plan", Members: map[string]any{"clients": 12, "a": []int{1}}}, "",
			`{"type":"about:blank","title":"Conflict","status":409,"detail":"in <use>","field":"plan","a":[1],"clients":12}`},
		{&Fault{Code: Changed, Message: "other"}, "",
			`{"type":"about:blank","title":"Precondition Failed","status":412,"detail":"other"}`},
	} {
		var ctx fasthttp.RequestCtx
		Handler(zerolog.Nop(), func(context.Context, *fasthttp.RequestCtx) error { return c.fault })(&ctx)
		if got := string(ctx.Response.Body()); got != c.body+"\n" || string(ctx.Response.Header.Peek("Retry-After")) != c.retryAfter {
			t.Errorf("got %s", &ctx.Response)
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
