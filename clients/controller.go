package clients

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

const (
	root        = "/v1/api"
	collection  = root + "/clients"
	limitedPath = root + "/limited"

	// The size of a page of the list, in clients.
	defaultPage = 100
	maxPage     = 1000

	maxLimited = 100 // clients
)

// controller decodes requests into values and encodes the results.
type controller struct {
	usecase   *usecase
	started   func() bool // the usecase has its store
	readsKeys func() bool // API keys are read from requests
	log       zerolog.Logger
}

func (c *controller) register(r *router.Router) {
	// A range appears in a path as one segment with %2F, or as two segments with a plain slash.
	const item, itemRange = collection + "/{client}", collection + "/{client}/{bits:[0-9]+}"
	answer := func(call rest.Call, parameters ...string) fasthttp.RequestHandler {
		return rest.Handler(c.log, c.onceStarted(call), parameters...)
	}

	r.POST(collection, answer(c.create))
	r.GET(collection, answer(c.list, "limit", "after"))
	r.GET(limitedPath, answer(c.limited, "limit"))
	paths := []string{collection, limitedPath}
	for _, path := range []string{item, itemRange} {
		r.GET(path, answer(c.get))
		r.PUT(path, answer(c.change))
		r.DELETE(path, answer(c.remove))
		r.GET(path+"/usage", answer(c.usage))
		r.POST(path+"/reset", answer(c.reset))
		paths = append(paths, path, path+"/usage", path+"/reset")
	}
	for _, path := range paths {
		r.ANY(path+"/", rest.WithoutSlash(r))
	}
}

// onceStarted returns a call that fails until there is a store to ask.
func (c *controller) onceStarted(call rest.Call) rest.Call {
	return func(ctx context.Context, r *fasthttp.RequestCtx) error {
		if !c.started() {
			return &rest.Fault{Code: rest.Unavailable, Message: "the clients are not loaded yet; try again later"}
		}
		return call(ctx, r)
	}
}

func (c *controller) create(ctx context.Context, r *fasthttp.RequestCtx) error {
	request, err := readClient(r)
	if err != nil {
		return err
	}
	if err := checkNew(request); err != nil {
		return err
	}
	created, err := c.usecase.create(ctx, request)
	if err != nil {
		return err
	}
	if created.ID.Name != "" && !c.readsKeys() {
		c.log.Warn().Str("client", created.ID.Name).Msg(keysNotRead)
	}
	r.Response.Header.Set("Location", collection+"/"+created.ID.String())
	rest.WriteJSON(r, http.StatusCreated, show(created))
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
		last := page[len(page)-1].ID.String()
		r.Response.Header.Set("Link", fmt.Sprintf(`<%s/?limit=%d&after=%s>; rel="next"`,
			collection, limit, url.QueryEscape(last)))
	}
	shown := make([]clientJSON, 0, len(page)) // not nil: an empty list is [], not null
	for _, one := range page {
		shown = append(shown, show(one))
	}
	rest.WriteJSON(r, http.StatusOK, shown)
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
	rest.WriteJSON(r, http.StatusOK, show(found))
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
	if err := checkChange(request, id); err != nil {
		return err
	}
	request.ID = id
	changed, err := c.usecase.change(ctx, request)
	if err != nil {
		return err
	}
	rest.WriteJSON(r, http.StatusOK, show(changed))
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

func (c *controller) usage(_ context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	usage, err := c.usecase.usage(id)
	if err != nil {
		return err
	}
	rest.WriteJSON(r, http.StatusOK, showUsage(usage))
	return nil
}

func (c *controller) reset(_ context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	body, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	if len(body) > 0 { // a caller that sends a body expects it to say what to reset
		return &rest.Fault{Code: rest.Invalid,
			Message: fmt.Sprintf("the body has %d bytes; allowed is none", len(body))}
	}
	if err := c.usecase.reset(id); err != nil {
		return err
	}
	r.SetStatusCode(http.StatusNoContent)
	return nil
}

func (c *controller) limited(_ context.Context, r *fasthttp.RequestCtx) error {
	most, err := readLimit(r.QueryArgs(), maxLimited, maxLimited)
	if err != nil {
		return err
	}
	rest.WriteJSON(r, http.StatusOK, showLimited(c.usecase.limited(most)))
	return nil
}

func readClient(r *fasthttp.RequestCtx) (limiter.Registration, error) {
	body, err := rest.ReadBody(r)
	if err != nil {
		return limiter.Registration{}, err
	}
	return decodeClient(body)
}

// pathID returns the ID of the client in the path, which the router leaves percent-encoded.
func pathID(r *fasthttp.RequestCtx) (limiter.ID, error) {
	raw := r.UserValue("client").(string)
	text, err := url.PathUnescape(raw)
	if err != nil {
		return limiter.ID{}, rest.Wrong("client", rest.Quote(raw), allowedClient)
	}
	if bits, ok := r.UserValue("bits").(string); ok {
		text += "/" + bits
	}
	return parseClient("client", text)
}

func readPage(query *fasthttp.Args) (limit int, after limiter.ID, err error) {
	if limit, err = readLimit(query, defaultPage, maxPage); err != nil {
		return 0, limiter.ID{}, err
	}
	if query.Has("after") {
		after, err = parseClient("after", string(query.Peek("after")))
	}
	return limit, after, err
}

// readLimit returns the parameter limit, which may be from 1 to most, or standard without it.
func readLimit(query *fasthttp.Args, standard, most int) (int, error) {
	if !query.Has("limit") {
		return standard, nil
	}
	text := string(query.Peek("limit"))
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > most {
		return 0, rest.Wrong("limit", rest.Quote(text), fmt.Sprintf("a whole number from 1 to %d", most))
	}
	return limit, nil
}
