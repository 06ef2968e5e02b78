package management

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/proxy/metrics"
)

// Reload is the reload of the config file. Both functions are called concurrently.
type Reload struct {
	// Now reloads the file, and returns what was changed, a line for each key, or why nothing was:
	// then each line of the error is a fault, unless it is ErrEnding.
	Now func(context.Context) (changed []string, err error)
	// Last returns what became of the last reload.
	Last func() LastReload
}

// ErrEnding says that the process is ending, and reloads nothing any more.
var ErrEnding = errors.New("the load balancer is shutting down")

// LastReload is what became of the last reload. Before the first one, OK is true.
type LastReload struct {
	OK    bool
	At    time.Time
	Total uint64 // reloads so far

	Cause   string   // what asked for it
	Changed []string // in words, a line for each key
	Faults  []string // why nothing was changed
}

// reloadResult is the body of an answer to a reload that succeeded.
type reloadResult struct {
	Changed []string `json:"changed"`
}

// serve answers a call that reloads the config.
func (r Reload) serve(ctx *fasthttp.RequestCtx) {
	changed, err := r.Now(ctx)
	if errors.Is(err, ErrEnding) {
		rest.WriteProblem(ctx, fasthttp.StatusServiceUnavailable, "", err.Error())
		return
	}
	if err != nil {
		rest.WriteFaults(ctx, fasthttp.StatusUnprocessableEntity,
			"the config was not reloaded, and nothing has changed", strings.Split(err.Error(), "\n"))
		return
	}
	if changed == nil {
		changed = []string{} // in JSON a list, too
	}
	rest.WriteJSON(ctx, fasthttp.StatusOK, reloadResult{changed})
}

// warning is what /readyz says of a reload that failed.
func (l LastReload) warning() string {
	if l.OK {
		return ""
	}
	return fmt.Sprintf("the config in use is an older one: its last reload, at %s, failed; the log says why\n", l.At.Format(time.RFC3339))
}

// write writes the metrics of the reloads.
func (l LastReload) write(w io.Writer) {
	metrics.Single(w, "lb_config_last_reload_success", "gauge", "1 unless the last reload of the config file failed.", oneIf(l.OK))
	metrics.Single(w, "lb_config_reloads_total", "counter", "Reloads of the config file, failed ones included.", l.Total)
}
