package clients

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fasthttp/router"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

// specification is docs/swagger.yaml.
type specification struct{ document *openapi3.T }

func loadSpecification(t *testing.T) *specification {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromFile("../docs/swagger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return &specification{document: document}
}

// check validates one exchange against the specification. It validates a request only if it was
// accepted, since a refused request may violate it.
func (s *specification) check(t *testing.T, method, path, body string, got answer) {
	t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	described, params := describedPath(request.URL.EscapedPath())
	item := s.document.Paths.Value(described)
	operation := item.GetOperation(method)
	if operation == nil {
		t.Errorf("%s %s is not described", method, described)
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request:    request,
		PathParams: params,
		Route: &routers.Route{
			Spec: s.document, Path: described, PathItem: item, Method: method, Operation: operation,
		},
		Options: &openapi3filter.Options{
			AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true,
		},
	}
	if got.status < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			t.Errorf("the request %s %s %s is accepted but not described: %v", method, path, rest.Shorten(body), err)
		}
	}
	response := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options,
	}
	response.SetBodyBytes([]byte(got.body))
	if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
		t.Errorf("the response to %s %s %s is not as described: %v", method, path, rest.Shorten(body), err)
	}
}

// describedPath returns the path under which the specification describes a call, and its
// parameters.
func describedPath(path string) (described string, params map[string]string) {
	path = strings.Trim(strings.TrimPrefix(path, root), "/")
	client, below := strings.CutPrefix(path, "clients/")
	if !below {
		return map[string]string{"clients": "/clients/", "limited": "/limited"}[path], nil
	}
	described = "/clients/{client}"
	for _, call := range []string{"/usage", "/reset"} {
		if name, found := strings.CutSuffix(client, call); found {
			client, described = name, described+call
		}
	}
	return described, map[string]string{"client": client}
}

func TestSpecificationIsValid(t *testing.T) {
	if err := loadSpecification(t).document.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

func TestSpecificationDescribesEveryRoute(t *testing.T) {
	document := loadSpecification(t).document
	described := map[string]bool{}
	for path, item := range document.Paths.Map() {
		if !strings.HasPrefix(path, "/clients/") && path != "/limited" {
			continue // belongs to another package
		}
		for method := range item.Operations() {
			described[method+" "+document.Servers[0].URL+strings.TrimSuffix(path, "/")] = true
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
	spec := loadSpecification(t)
	for status, title := range map[int]string{
		401: "Unauthorized", 403: "Forbidden", 413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
	} {
		var ctx fasthttp.RequestCtx
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
		ctx.Response.Header.Set("Retry-After", "1")
		rest.WriteProblem(&ctx, status, "", "a <detail> & \"more\"")
		got := answerOf(&ctx)
		if !strings.Contains(got.body, `"title":"`+title+`"`) || !strings.Contains(got.body, `a <detail> & \"more\"`) ||
			strings.Contains(got.body, `"field"`) || len(ctx.Response.Header.Peek("WWW-Authenticate")) == 0 {
			t.Errorf("%d is %s", status, got.body)
		}
		spec.check(t, "POST", collection+"/", "", got)
	}
}

func answerOf(ctx *fasthttp.RequestCtx) answer {
	return answer{status: ctx.Response.StatusCode(), body: string(ctx.Response.Body()), header: http.Header{
		"Content-Type": {string(ctx.Response.Header.ContentType())},
		"Retry-After":  {string(ctx.Response.Header.Peek("Retry-After"))},
	}}
}
