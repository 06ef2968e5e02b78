package clients

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

const (
	limitedPath = root + "/limited"
	usagePath   = root + "/usage"

	maxLimited = 100 // clients
)

func registerUsage(r *routes) {
	r.add(http.MethodGet, limitedPath, r.limited, "limit")
	r.add(http.MethodGet, usagePath, r.usageOfAll, "limit", "after", "sort")
	for _, path := range []string{item, itemRange} {
		r.add(http.MethodGet, path+"/usage", r.usage)
		r.add(http.MethodPost, path+"/reset", r.reset)
	}
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

// clientUsageJSON is the usage of a client in a list.
type clientUsageJSON struct {
	Client string `json:"client"`
	usageJSON
}

// The orders of the usage of all clients.
const (
	byName       = "name"
	byRejections = "rejections"
)

func (c *controller) usageOfAll(_ context.Context, r *fasthttp.RequestCtx) error {
	query := r.QueryArgs()
	limit, err := readLimit(query, defaultPage, maxPage)
	if err != nil {
		return err
	}
	order := byName
	if query.Has("sort") {
		order = string(query.Peek("sort"))
	}
	var page []used
	var more bool
	switch order {
	case byName:
		var after limiter.ID
		if _, after, err = readPage(query); err != nil {
			return err
		}
		page, more, err = c.usecase.usageByName(after, limit)
	case byRejections:
		var after usagePlace
		if after, err = readPlace(query); err != nil {
			return err
		}
		page, more, err = c.usecase.usageByRejections(after, limit)
	default:
		return rest.Wrong("sort", rest.Quote(order), byName+" or "+byRejections)
	}
	if err != nil {
		return err
	}
	if more {
		last := page[len(page)-1]
		after := last.id.String()
		if order == byRejections {
			after = fmt.Sprintf("%d,%s", last.rejections(), after)
		}
		linkNext(r, usagePath, fmt.Sprintf("limit=%d&sort=%s&after=%s", limit, order, url.QueryEscape(after)))
	}
	shown := make([]clientUsageJSON, 0, len(page)) // not nil: an empty list is [], not null
	for _, one := range page {
		shown = append(shown, clientUsageJSON{one.id.String(), showUsage(one.Usage)})
	}
	rest.WriteJSON(r, http.StatusOK, shown)
	return nil
}

// readPlace returns the parameter after in the order by rejections: those of a client, a comma, and
// the client.
func readPlace(query *fasthttp.Args) (p usagePlace, err error) {
	if !query.Has("after") {
		return usagePlace{}, nil
	}
	text := string(query.Peek("after"))
	count, client, _ := strings.Cut(text, ",")
	if p.id, err = parseClient("after", client); err == nil {
		p.rejections, err = strconv.ParseInt(count, 10, 64)
	}
	if err != nil || p.rejections < 0 {
		return usagePlace{}, rest.Wrong("after", rest.Quote(text), "what the Link of the page before has, such as 12,acme")
	}
	return p, nil
}

func (c *controller) reset(ctx context.Context, r *fasthttp.RequestCtx) error {
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
	unnoted, err := c.usecase.reset(ctx, rest.CallerOf(r), id)
	if err != nil {
		return err
	}
	if unnoted != nil {
		c.log.Warn().Err(unnoted).Str("client", id.String()).Msg("a reset is missing in the audit")
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
