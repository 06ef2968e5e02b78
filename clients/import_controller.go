package clients

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

const importPath = root + "/import/clients"

func registerImport(r *routes) {
	r.add(http.MethodPost, importPath, r.importClients, "dry_run")
}

// importClients takes a body of any length, line by line.
func (c *controller) importClients(ctx context.Context, r *fasthttp.RequestCtx) error {
	dry, err := readBool(r.QueryArgs(), "dry_run")
	if err != nil {
		return err
	}
	from, err := sourceOf(r)
	if err != nil {
		return err
	}
	report, err := c.usecase.importClients(ctx, call{by: rest.CallerOf(r)}, from, dry)
	if f, ok := errors.AsType[*rest.Fault](err); ok {
		told := *f
		told.Members = map[string]any{"report": report}
		maps.Copy(told.Members, f.Members)
		return &told
	}
	if err != nil {
		return err
	}
	rest.WriteJSON(r, http.StatusOK, report)
	return nil
}

// sourceOf returns the clients in the body.
func sourceOf(r *fasthttp.RequestCtx) (draftSource, error) {
	given := string(r.Request.Header.ContentType())
	media, _, _ := strings.Cut(given, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case ndjsonType:
		return &ndjsonSource{rest.NewLines(r)}, nil
	case csvType:
		return newCSVSource(rest.NewLines(r))
	}
	return nil, &rest.Fault{Code: rest.Unsupported, Field: "Content-Type",
		Message: fmt.Sprintf("Content-Type is %s; allowed is %s or %s", rest.Quote(given), ndjsonType, csvType)}
}
