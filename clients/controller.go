package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

const (
	root       = "/v1/api"
	collection = root + "/clients"

	// The size of a page of the list, in clients.
	defaultPage = 100
	maxPage     = 1000
)

// controller decodes requests into values and encodes the results.
type controller struct {
	usecase   *usecase
	readsKeys func() bool // API keys are read from requests
	log       zerolog.Logger
}

func (c *controller) register(r *router.Router) {
	to := &routes{controller: c, router: r}
	registerClients(to)
	registerKeys(to)
	registerPlans(to)
	registerUsage(to)
	registerAudit(to)
	registerExport(to)
	registerImport(to)
}

// routes registers calls, each with and without a trailing slash.
type routes struct {
	*controller
	router  *router.Router
	slashed []string // paths that have a route with the slash
}

func (r *routes) add(method, path string, call rest.Call, parameters ...string) {
	r.router.Handle(method, path, r.handler(call, parameters...))
	if !slices.Contains(r.slashed, path) {
		r.slashed = append(r.slashed, path)
		r.router.ANY(path+"/", rest.WithoutSlash(r.router))
	}
}

// A range appears in a path as one segment with %2F, or as two segments with a plain slash.
const (
	item      = collection + "/{client}"
	itemRange = collection + "/{client}/{bits:[0-9]+}"
)

func registerClients(r *routes) {
	r.add(http.MethodPost, collection, r.create)
	r.add(http.MethodGet, collection, r.list, "limit", "after", "label", "search")
	for _, path := range []string{item, itemRange} {
		r.add(http.MethodGet, path, r.get)
		r.add(http.MethodPut, path, r.change, "create")
		r.add(http.MethodPatch, path, r.patch)
		r.add(http.MethodDelete, path, r.remove)
	}
}

// handler returns the handler of a call, whose response tells of which version of the store it is.
func (c *controller) handler(call rest.Call, parameters ...string) fasthttp.RequestHandler {
	return rest.Handler(c.log, func(ctx context.Context, r *fasthttp.RequestCtx) error {
		at := c.usecase.keeper().Position() // before the call reads: what it shows is not older
		err := call(ctx, r)
		if !r.IsGet() {
			at = c.usecase.keeper().Position() // with what it has written
		}
		tellVersion(r, at, c.usecase.keeper().state())
		return err
	}, parameters...)
}

// tellVersion adds Lb-Version and, while the store is away, Lb-Stale.
func tellVersion(r *fasthttp.RequestCtx, at store.Position, s state) {
	if s.loaded {
		r.Response.Header.Set("Lb-Version", strconv.FormatInt(at.Version, 10))
	}
	if s.away {
		r.Response.Header.Set("Lb-Stale", strconv.Itoa(int(s.stale.Seconds())))
	}
}

func (c *controller) create(ctx context.Context, r *fasthttp.RequestCtx) error {
	body, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	asked, err := readCall(r, body)
	if err != nil {
		return err
	}
	d, err := decodeClient(body)
	if err != nil {
		return err
	}
	if err := checkNew(d); err != nil {
		return err
	}
	created, err := c.usecase.create(ctx, asked, d)
	if before, ok := errors.AsType[*replay](err); ok {
		r.Response.Header.Set("Location", clientPath(d.id))
		rest.WriteJSON(r, before.status, json.RawMessage(before.body))
		return nil
	}
	if err != nil {
		return err
	}
	c.warnOfKey(created)
	c.answer(r, http.StatusCreated, created)
	return nil
}

// warnOfKey logs that no request counts as those of a client with a key, if that is so.
func (c *controller) warnOfKey(created store.Client) {
	if created.ID.Name != "" && !c.readsKeys() {
		c.log.Warn().Str("client", created.ID.Name).Msg(keysNotRead)
	}
}

// answer shows a client, with its entity tag, and with its path if it is new.
func (c *controller) answer(r *fasthttp.RequestCtx, status int, shown store.Client) {
	if status == http.StatusCreated {
		r.Response.Header.Set("Location", clientPath(shown.ID))
	}
	r.Response.Header.Set("ETag", tag(shown.Version, shown.UpdatedAt))
	rest.WriteJSON(r, status, show(shown))
}

func (c *controller) list(_ context.Context, r *fasthttp.RequestCtx) error {
	query := r.QueryArgs()
	limit, after, err := readPage(query)
	if err != nil {
		return err
	}
	f, err := readFilter(query)
	if err != nil {
		return err
	}
	page, more, err := c.usecase.list(after, limit, f)
	if err != nil {
		return err
	}
	if more {
		next := fmt.Sprintf("limit=%d&after=%s", limit, url.QueryEscape(page[len(page)-1].ID.String()))
		linkNext(r, collection+"/", next+f.parameters())
	}
	shown := make([]clientJSON, 0, len(page)) // not nil: an empty list is [], not null
	for _, one := range page {
		shown = append(shown, show(one))
	}
	rest.WriteJSON(r, http.StatusOK, shown)
	return nil
}

// linkNext tells where the next page of a list is.
func linkNext(r *fasthttp.RequestCtx, path, query string) {
	r.Response.Header.Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, path, query))
}

func (c *controller) get(_ context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	found, err := c.usecase.get(id)
	if err != nil {
		return err
	}
	c.answer(r, http.StatusOK, found)
	return nil
}

func (c *controller) change(ctx context.Context, r *fasthttp.RequestCtx) error {
	body, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	d, err := decodeClient(body)
	if err != nil {
		return err
	}
	create, err := readBool(r.QueryArgs(), "create")
	if err != nil {
		return err
	}
	return c.edit(ctx, r, create, func(*store.Client) (draft, error) { return d, nil })
}

func (c *controller) patch(ctx context.Context, r *fasthttp.RequestCtx) error {
	body, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	if _, err := rest.ParseObject(body, clientFields...); err != nil {
		return err
	}
	return c.edit(ctx, r, false, func(old *store.Client) (draft, error) { return patched(old, body) })
}

// edit changes the client of the path.
func (c *controller) edit(ctx context.Context, r *fasthttp.RequestCtx, create bool, edit func(old *store.Client) (draft, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	asked, err := readCall(r, nil)
	if err != nil {
		return err
	}
	changed, created, err := c.usecase.change(ctx, asked, id, create, edit)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		c.warnOfKey(changed)
	}
	c.answer(r, status, changed)
	return nil
}

func (c *controller) remove(ctx context.Context, r *fasthttp.RequestCtx) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	asked, err := readCall(r, nil)
	if err != nil {
		return err
	}
	if err := c.usecase.remove(ctx, asked, id); err != nil {
		return err
	}
	r.SetStatusCode(http.StatusNoContent)
	return nil
}

// readCall returns a write as its caller asked for it. once is what an Idempotency-Key stands for, and
// nil where there can be none.
func readCall(r *fasthttp.RequestCtx, once []byte) (k call, err error) {
	k.by = rest.CallerOf(r)
	if k.match, err = rest.IfMatch(r); err != nil || once == nil {
		return k, err
	}
	key, err := rest.IdempotencyKey(r)
	k.once = newOnce(k.by, key, once)
	return k, err
}

func clientPath(id limiter.ID) string { return collection + "/" + id.String() }

// pathID returns the ID of the client in the path.
func pathID(r *fasthttp.RequestCtx) (limiter.ID, error) {
	text, err := pathText(r, "client", allowedClient)
	if err != nil {
		return limiter.ID{}, err
	}
	if bits, ok := r.UserValue("bits").(string); ok {
		text += "/" + bits
	}
	return parseClient("client", text)
}

// pathText returns a part of the path, which the router leaves percent-encoded.
func pathText(r *fasthttp.RequestCtx, name, allowed string) (string, error) {
	raw := r.UserValue(name).(string)
	text, err := url.PathUnescape(raw)
	if err != nil {
		return "", rest.Wrong(name, rest.Quote(raw), allowed)
	}
	return text, nil
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

// readFilter returns the parameters label and search, or a filter that all pass without them.
func readFilter(query *fasthttp.Args) (f filter, err error) {
	if query.Has("label") {
		if f.label, err = parseLabel(string(query.Peek("label"))); err != nil {
			return filter{}, err
		}
	}
	if query.Has("search") {
		f.search, err = parseSearch(string(query.Peek("search")))
	}
	return f, err
}

func readBool(query *fasthttp.Args, name string) (bool, error) {
	if !query.Has(name) {
		return false, nil
	}
	switch text := string(query.Peek(name)); text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, rest.Wrong(name, rest.Quote(text), "true or false")
	}
}
