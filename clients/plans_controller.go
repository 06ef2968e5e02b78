package clients

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

const (
	plansPath = root + "/plans"
	planPath  = plansPath + "/{plan}"
)

func registerPlans(r *routes) {
	r.add(http.MethodGet, plansPath, r.listPlans, "limit", "after")
	r.add(http.MethodGet, planPath, r.getPlan)
	r.add(http.MethodPut, planPath, r.putPlan)
	r.add(http.MethodDelete, planPath, r.removePlan)
}

// planJSON is a plan in a response.
type planJSON struct {
	Name          string    `json:"name"`
	Capacity      int64     `json:"capacity"`
	RatePerSecond float64   `json:"rate_per_second"`
	MaxInFlight   int64     `json:"max_in_flight,omitempty"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

func showPlan(p store.Plan) planJSON {
	return planJSON{
		Name: p.Name, Capacity: p.Terms.Capacity, RatePerSecond: p.Terms.RatePerSecond, MaxInFlight: p.Terms.MaxInFlight,
		CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
}

// decodePlanTerms decodes the body of a PUT of a plan, which may have its name.
func decodePlanTerms(body []byte, name string) (t limiter.Terms, err error) {
	o, err := rest.ParseObject(body, fieldName, fieldCapacity, fieldRate, fieldMaxInFlight, fieldCreated, fieldUpdated)
	if err != nil {
		return limiter.Terms{}, err
	}
	o.DropNulls(fieldName, fieldMaxInFlight)
	if _, found := o.Value(fieldName); found {
		if text, ok := o.Text(fieldName); !ok || text != name {
			return limiter.Terms{}, o.Wrong(fieldName, "the plan of the path, "+name)
		}
	}
	if t.Limit, err = decodeLimit(o); err != nil {
		return limiter.Terms{}, err
	}
	t.MaxInFlight, err = decodeMaxInFlight(o)
	return t, err
}

// pathPlan returns the name of the plan in the path.
func pathPlan(r *fasthttp.RequestCtx) (string, error) {
	name, err := pathText(r, "plan", allowedName)
	if err == nil && !store.IsName(name) {
		err = rest.Wrong("plan", rest.Quote(name), allowedName)
	}
	return name, err
}

func (c *controller) putPlan(ctx context.Context, r *fasthttp.RequestCtx) error {
	name, err := pathPlan(r)
	if err != nil {
		return err
	}
	body, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	terms, err := decodePlanTerms(body, name)
	if err != nil {
		return err
	}
	asked, err := readCall(r, nil)
	if err != nil {
		return err
	}
	p, created, err := c.usecase.putPlan(ctx, asked, name, terms)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		r.Response.Header.Set("Location", plansPath+"/"+name)
	}
	answerPlan(r, status, p)
	return nil
}

func answerPlan(r *fasthttp.RequestCtx, status int, p store.Plan) {
	r.Response.Header.Set("ETag", tag(p.Version, p.UpdatedAt))
	rest.WriteJSON(r, status, showPlan(p))
}

func (c *controller) getPlan(_ context.Context, r *fasthttp.RequestCtx) error {
	name, err := pathPlan(r)
	if err != nil {
		return err
	}
	p, err := c.usecase.plan(name)
	if err != nil {
		return err
	}
	answerPlan(r, http.StatusOK, p)
	return nil
}

func (c *controller) removePlan(ctx context.Context, r *fasthttp.RequestCtx) error {
	name, err := pathPlan(r)
	if err != nil {
		return err
	}
	asked, err := readCall(r, nil)
	if err != nil {
		return err
	}
	if err := c.usecase.removePlan(ctx, asked, name); err != nil {
		return err
	}
	r.SetStatusCode(http.StatusNoContent)
	return nil
}

func (c *controller) listPlans(_ context.Context, r *fasthttp.RequestCtx) error {
	query := r.QueryArgs()
	limit, err := readLimit(query, defaultPage, maxPage)
	if err != nil {
		return err
	}
	after := string(query.Peek("after"))
	if query.Has("after") && !store.IsName(after) {
		return rest.Wrong("after", rest.Quote(after), allowedName)
	}
	page, more, err := c.usecase.plans(after, limit)
	if err != nil {
		return err
	}
	if more {
		linkNext(r, plansPath+"/", fmt.Sprintf("limit=%d&after=%s", limit, url.QueryEscape(page[len(page)-1].Name)))
	}
	shown := slices.Grow([]planJSON{}, len(page)) // not nil: an empty list is [], not null
	for _, p := range page {
		shown = append(shown, showPlan(p))
	}
	rest.WriteJSON(r, http.StatusOK, shown)
	return nil
}
