package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

const auditPath = root + "/audit"

func registerAudit(r *routes) {
	r.add(http.MethodGet, auditPath, r.audit, "limit", "before")
}

// entryJSON is a store.Entry in a response.
type entryJSON struct {
	ID     int64           `json:"id"`
	At     time.Time       `json:"at"`
	Who    string          `json:"who"`
	From   string          `json:"from"`
	Action string          `json:"action"`
	Target string          `json:"target"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

func (c *controller) audit(ctx context.Context, r *fasthttp.RequestCtx) error {
	query := r.QueryArgs()
	limit, err := readLimit(query, defaultPage, maxPage)
	if err != nil {
		return err
	}
	var before int64
	if query.Has("before") {
		text := string(query.Peek("before"))
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			return rest.Wrong("before", rest.Quote(text), "the id of an entry")
		}
	}
	page, more, err := c.usecase.audit(ctx, before, limit)
	if err != nil {
		return err
	}
	if more {
		linkNext(r, auditPath, fmt.Sprintf("limit=%d&before=%d", limit, page[len(page)-1].ID))
	}
	shown := make([]entryJSON, 0, len(page)) // not nil: an empty list is [], not null
	for _, e := range page {
		shown = append(shown, entryJSON(e))
	}
	rest.WriteJSON(r, http.StatusOK, shown)
	return nil
}

// audit returns at most limit entries before the one with the ID, or the latest for 0, and whether
// there are more. The latest comes first.
func (u *usecase) audit(ctx context.Context, before int64, limit int) (page []store.Entry, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err = u.keeper().audit(ctx, before, limit+1)
	if err != nil {
		return nil, false, u.fault(limiter.ID{}, err)
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}
