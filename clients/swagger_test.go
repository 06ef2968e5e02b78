package clients

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

func TestSpecificationDescribesEveryRoute(t *testing.T) {
	described := map[string]bool{}
	for _, o := range calls.Operations() {
		if isOurs(o) {
			described[o.Method+" "+root+strings.TrimSuffix(o.Path, "/")] = true
		}
	}
	registered := map[string]bool{}
	for method, paths := range testRouter((&controller{}).register).List() {
		if method == router.MethodWild {
			continue // the trailing slashes
		}
		for _, path := range paths {
			// A range with a plain slash is described as a spelling of {client}.
			path = strings.Replace(path, "{client}/{bits:[0-9]+}", "{client}", 1)
			registered[method+" "+path] = true
		}
	}
	if !maps.Equal(described, registered) {
		t.Errorf("described are %v, registered are %v",
			slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(registered)))
	}
}

// TestWriteProblem covers the responses that other packages write with it.
func TestWriteProblem(t *testing.T) {
	for status, title := range map[int]string{
		401: "Unauthorized", 403: "Forbidden", 413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
	} {
		var ctx fasthttp.RequestCtx
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
		rest.WriteProblem(&ctx, status, "", "a <detail> & \"more\"")
		got := string(ctx.Response.Body())
		if !strings.Contains(got, `"title":"`+title+`"`) || !strings.Contains(got, `a <detail> & \"more\"`) ||
			strings.Contains(got, `"field"`) || len(ctx.Response.Header.Peek("WWW-Authenticate")) == 0 {
			t.Errorf("%d is %s", status, got)
		}
	}
}
