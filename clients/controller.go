package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

const (
	collection = "/v1/api/clients"

	// The size of a page of the list, in clients.
	defaultPage = 100
	maxPage     = 1000
)

// controller turns HTTP into values and back.
type controller struct {
	usecase *usecase
	log     zerolog.Logger
}

// clientJSON is a client as the API shows it.
type clientJSON struct {
	IPAddress     string    `json:"ip_address"`
	Capacity      int64     `json:"capacity"`
	RatePerSecond float64   `json:"rate_per_second"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

func (c *controller) register(r *router.Router) {
	// A range has two ways to stand in a path: as one segment with %2F, and as two with a plain slash.
	const item, itemRange = collection + "/{client}", collection + "/{client}/{bits:[0-9]+}"

	r.POST(collection, c.answer(c.create))
	r.GET(collection, c.answer(c.list))
	for _, path := range []string{item, itemRange} {
		r.GET(path, c.answer(c.get))
		r.PUT(path, c.answer(c.change))
		r.DELETE(path, c.answer(c.remove))
	}
	for _, path := range []string{collection, item, itemRange} {
		r.ANY(path+"/", withoutSlash(r))
	}
}

// withoutSlash routes a request again, without its trailing slash. The router can't hold a path with and without
// the slash for one method, but asks its routes for any method when those of the method have no match.
func withoutSlash(r *router.Router) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		uri := ctx.URI()
		uri.SetPathBytes(bytes.TrimSuffix(uri.PathOriginal(), []byte("/")))
		r.Handler(ctx)
	}
}

// answer runs a call to its end, also when the server is shutting down: that ends the RequestCtx as a context, and
// a write under way must reach both the store and the limiter.
func (c *controller) answer(call func(context.Context, *fasthttp.RequestCtx) error) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		err := call(context.Background(), ctx)
		if err == nil {
			return
		}
		f, ok := errors.AsType[*fault](err)
		if !ok {
			panic(fmt.Sprintf("BUG: a call failed with %T: %v", err, err))
		}
		writeFault(ctx, c.log, f)
	}
}

func (c *controller) create(ctx context.Context, r *fasthttp.RequestCtx) error {
	request, err := readClient(r)
	if err != nil {
		return err
	}
	if !request.id.IsValid() {
		return missing(fieldID)
	}
	created, err := c.usecase.create(ctx, request.id, request.limit)
	if err != nil {
		return err
	}
	r.Response.Header.Set("Location", collection+"/"+formatID(created.id))
	writeJSON(r, http.StatusCreated, show(created))
	return nil
}

func (c *controller) list(ctx context.Context, r *fasthttp.RequestCtx) error {
	limit, after, err := readPage(r.QueryArgs())
	if err != nil {
		return err
	}
	page, more, err := c.usecase.list(ctx, after, limit)
	if err != nil {
		return err
	}
	if more {
		last := formatID(page[len(page)-1].id)
		r.Response.Header.Set("Link", fmt.Sprintf(`<%s/?limit=%d&after=%s>; rel="next"`,
			collection, limit, url.QueryEscape(last)))
	}
	shown := make([]clientJSON, 0, len(page)) // not nil: an empty list is [], not null
	for _, one := range page {
		shown = append(shown, show(one))
	}
	writeJSON(r, http.StatusOK, shown)
	return nil
}

func (c *controller) get(ctx context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	found, err := c.usecase.get(ctx, id)
	if err != nil {
		return err
	}
	writeJSON(r, http.StatusOK, show(found))
	return nil
}

func (c *controller) change(ctx context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	request, err := readClient(r)
	if err != nil {
		return err
	}
	if request.id.IsValid() && request.id != id {
		return wrongValue(fieldID, quote(formatID(request.id)), fmt.Sprintf("the client of the path, %s", formatID(id)))
	}
	changed, err := c.usecase.change(ctx, id, request.limit)
	if err != nil {
		return err
	}
	writeJSON(r, http.StatusOK, show(changed))
	return nil
}

func (c *controller) remove(ctx context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := c.usecase.remove(ctx, id); err != nil {
		return err
	}
	r.SetStatusCode(http.StatusNoContent)
	return nil
}

func readClient(r *fasthttp.RequestCtx) (clientRequest, error) {
	body, err := readBody(r)
	if err != nil {
		return clientRequest{}, err
	}
	return decodeClient(body)
}

// pathID returns the client of the path. The router leaves percent-encoding in.
func pathID(r *fasthttp.RequestCtx) (netip.Prefix, error) {
	raw := r.UserValue("client").(string)
	text, err := url.PathUnescape(raw)
	if err != nil {
		return netip.Prefix{}, wrongValue(fieldID, quote(raw), allowedID)
	}
	if bits, ok := r.UserValue("bits").(string); ok {
		text += "/" + bits
	}
	return parseID(fieldID, text)
}

func readPage(query *fasthttp.Args) (limit int, after netip.Prefix, err error) {
	limit = defaultPage
	if query.Has("limit") {
		text := string(query.Peek("limit"))
		limit, err = strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return 0, netip.Prefix{}, wrongValue("limit", quote(text), fmt.Sprintf("a whole number from 1 to %d", maxPage))
		}
	}
	if query.Has("after") {
		after, err = parseID("after", string(query.Peek("after")))
	}
	return limit, after, err
}

func show(c client) clientJSON {
	return clientJSON{
		IPAddress:     formatID(c.id),
		Capacity:      c.limit.Capacity,
		RatePerSecond: c.limit.RatePerSecond,
		CreatedAt:     c.createdAt,
		UpdatedAt:     c.updatedAt,
	}
}

func writeJSON(r *fasthttp.RequestCtx, status int, value any) {
	writeBody(r, status, "application/json", value)
}
