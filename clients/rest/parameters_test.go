package rest

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestParameters(t *testing.T) {
	for _, c := range []struct{ query, field, detail string }{
		{query: ""}, {query: "&"}, {query: "limit=5"}, {query: "limit"}, {query: "&&after=1&limit=5"}, {query: "%6cimit=5"},
		{"x=1", "x", `the parameter "x" is unknown; allowed are ["limit" "after"]`},
		{"limit=5&Limit=5", "Limit", "unknown"},
		{"=5", "", `"" is unknown`},
		{"limit=5&%6cimit=6", "limit", `the parameter "limit" appears twice`},
		{strings.Repeat("x", 200), strings.Repeat("x", 100) + "…", "unknown"},
	} {
		reached := false
		handler := Parameters(func(*fasthttp.RequestCtx) { reached = true }, "limit", "after")
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/?" + c.query)
		handler(&ctx)
		if reached != (c.detail == "") {
			t.Errorf("%s: reached the handler: %t", c.query, reached)
		}
		if reached {
			continue
		}
		o, err := ParseObject(ctx.Response.Body(), "type", "title", "status", "detail", "field")
		if err != nil {
			t.Fatal(err)
		}
		field, _ := o.Text("field")
		detail, _ := o.Text("detail")
		if ctx.Response.StatusCode() != 422 || field != c.field || !strings.Contains(detail, c.detail) {
			t.Errorf("%s: got %s", c.query, &ctx.Response)
		}
	}
}

func TestNoParameters(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/?x=1")
	Parameters(func(*fasthttp.RequestCtx) { t.Error("reached the handler") })(&ctx)
	if body := string(ctx.Response.Body()); !strings.Contains(body, "unknown; this call has none") {
		t.Errorf("got %s", body)
	}
}
