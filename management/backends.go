package management

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/proxy/upstream"
)

// backendsPath lists the backends. Below it, each has the path of its pool's name and its address.
const backendsPath = apiPrefix + "backends"

// maxStay bounds the timeout of a drain.
const maxStay = 24 * time.Hour

// registerBackends adds the calls that show and change backends.
func (m *Server) registerBackends(r *router.Router) {
	const one = backendsPath + "/{pool}/{address}"
	add := func(method, path string, call rest.Call) {
		r.Handle(method, path, rest.Handler(m.Log, call))
		r.ANY(path+"/", rest.WithoutSlash(r))
	}
	add(fasthttp.MethodGet, backendsPath, m.listBackends)
	add(fasthttp.MethodGet, one, m.getBackend)
	add(fasthttp.MethodPost, one+"/drain", m.drain)
	add(fasthttp.MethodPost, one+"/resume", m.resume)
	add(fasthttp.MethodPut, one+"/weight", m.weigh)
}

func (m *Server) listBackends(_ context.Context, ctx *fasthttp.RequestCtx) error {
	all := []upstream.BackendState{} // in JSON a list, too
	for _, p := range m.Balancer.Pools() {
		all = append(all, p.States()...)
	}
	rest.WriteJSON(ctx, fasthttp.StatusOK, all)
	return nil
}

func (m *Server) getBackend(_ context.Context, ctx *fasthttp.RequestCtx) error {
	pool, address, err := m.named(ctx)
	if err != nil {
		return err
	}
	for _, b := range pool.States() {
		if b.Is(address) {
			rest.WriteJSON(ctx, fasthttp.StatusOK, b)
			return nil
		}
	}
	return noBackend(pool, address)
}

// drain takes {"timeout": "30s"}, or nothing.
func (m *Server) drain(_ context.Context, ctx *fasthttp.RequestCtx) error {
	o, err := readOptions(ctx, "timeout")
	if err != nil {
		return err
	}
	until, err := decodeStay(o, time.Now())
	if err != nil {
		return err
	}
	return m.change(ctx, func(p *upstream.Pool, address string) (upstream.BackendState, bool) { return p.Drain(address, until) },
		func(line *zerolog.Event, b upstream.BackendState) {
			if !until.IsZero() {
				line.Time("sticky_until", until)
			}
			line.Int64("in_flight", b.InFlight).Msg("backend is drained")
		})
}

func (m *Server) resume(_ context.Context, ctx *fasthttp.RequestCtx) error {
	if _, err := readOptions(ctx); err != nil {
		return err
	}
	return m.change(ctx, (*upstream.Pool).Resume, func(line *zerolog.Event, b upstream.BackendState) {
		line.Str("state", b.State).Msg("backend is resumed")
	})
}

// weigh takes {"weight": 3}.
func (m *Server) weigh(_ context.Context, ctx *fasthttp.RequestCtx) error {
	o, err := readOptions(ctx, "weight")
	if err != nil {
		return err
	}
	weight, err := decodeWeight(o)
	if err != nil {
		return err
	}
	return m.change(ctx, func(p *upstream.Pool, address string) (upstream.BackendState, bool) {
		return p.SetWeight(address, weight)
	},
		func(line *zerolog.Event, b upstream.BackendState) {
			line.Int("weight", b.Weight).Int("configured_weight", b.ConfiguredWeight).Msg("backend has a weight set by hand")
		})
}

// changedBackend is the answer to a call that has changed a backend.
type changedBackend struct {
	upstream.BackendState
	Warnings []string `json:"warnings,omitempty"`
}

// change changes the backend of the path, keeps that, and answers with the backend. tell completes
// the log line.
func (m *Server) change(ctx *fasthttp.RequestCtx, change func(*upstream.Pool, string) (upstream.BackendState, bool), tell func(*zerolog.Event, upstream.BackendState)) error {
	pool, address, err := m.named(ctx)
	if err != nil {
		return err
	}
	b, known := change(pool, address)
	if !known {
		return noBackend(pool, address)
	}
	kept := m.Balancer.SaveSettings()
	by := rest.CallerOf(ctx)
	line := m.Log.Info()
	if kept != nil {
		line = m.Log.Error().AnErr("not_kept", kept)
	}
	if by.Token != "" {
		line.Str("token", by.Token)
	}
	tell(line.Str("pool", b.Pool).Str("backend", b.Backend).Stringer("address", by.Address), b)
	rest.WriteJSON(ctx, fasthttp.StatusOK, changedBackend{b, warnings(pool, kept)})
	return nil
}

// warnings returns what the operator has to know of a change that was made.
func warnings(pool *upstream.Pool, kept error) (all []string) {
	if !pool.TakesRequests() {
		all = append(all, fmt.Sprintf("no backend of the pool %s takes new requests: they get 503 no_backend, or wait in its queue, and /readyz says no", pool.Name()))
	}
	if kept != nil {
		all = append(all, "the change counts, but could not be written to server.state: it ends with the process, unless a later one can be written; the log says why")
	}
	return all
}

// named returns the pool and the address of the path, which the router leaves percent-encoded.
func (m *Server) named(ctx *fasthttp.RequestCtx) (pool *upstream.Pool, address string, err error) {
	name, err := pathValue(ctx, "pool")
	if err != nil {
		return nil, "", err
	}
	if address, err = pathValue(ctx, "address"); err != nil {
		return nil, "", err
	}
	var names []string
	for _, p := range m.Balancer.Pools() {
		if p.Name() == name {
			return p, address, nil
		}
		names = append(names, p.Name())
	}
	return nil, "", notThere("pool", name, "the pools are", names)
}

func pathValue(ctx *fasthttp.RequestCtx, name string) (string, error) {
	raw := ctx.UserValue(name).(string)
	text, err := url.PathUnescape(raw)
	if err != nil {
		return "", rest.Wrong(name, rest.Quote(raw), "one whose special characters are percent-encoded")
	}
	return text, nil
}

func noBackend(pool *upstream.Pool, address string) error {
	var addresses []string
	for _, b := range pool.States() {
		if b.State != upstream.Unresolved {
			addresses = append(addresses, b.Address)
		}
	}
	return notThere("address", address, "the pool "+pool.Name()+" has", addresses)
}

// maxNamed bounds how many of those that exist an answer names.
const maxNamed = 10

func notThere(field, value, there string, names []string) error {
	more := ""
	if n := len(names) - maxNamed; n > 0 {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return &rest.Fault{Code: rest.NotFound, Field: field,
		Message: fmt.Sprintf("%s is %s, which does not exist; %s %s%s", field, rest.Quote(value), there, strings.Join(names, ", "), more)}
}

// readOptions reads a body that may be left out, and has these fields, each of which may be null.
func readOptions(ctx *fasthttp.RequestCtx, known ...string) (rest.Object, error) {
	body, err := rest.ReadBody(ctx)
	if err != nil || len(body) == 0 {
		return rest.Object{}, err
	}
	o, err := rest.ParseObject(body, known...)
	o.DropNulls(known...)
	return o, err
}

// decodeStay returns until when the clients that are kept at a drained backend stay there, or the
// zero time without a timeout.
func decodeStay(o rest.Object, now time.Time) (time.Time, error) {
	if _, there := o.Value("timeout"); !there {
		return time.Time{}, nil
	}
	text, _ := o.Text("timeout")
	stay, err := time.ParseDuration(text)
	if err != nil || stay < 0 || stay > maxStay {
		return time.Time{}, o.Wrong("timeout", `a time from "0s" to "24h", such as "30s"`)
	}
	return now.Add(stay), nil
}

func decodeWeight(o rest.Object) (int, error) {
	value, there := o.Value("weight")
	if !there {
		return 0, o.Missing("weight")
	}
	weight, err := strconv.Atoi(string(value))
	if allowed, ok := upstream.CheckWeight(weight); err != nil || !ok {
		return 0, o.Wrong("weight", allowed)
	}
	return weight, nil
}
