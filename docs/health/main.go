// The command health draws docs/health.svg: the shares of requests of three backends, one of which
// fails, is ejected and comes back. The run is real: run.json beside this file has the counts of the
// backends themselves, and
//
//	go test -count=1 -run 'TestProcess/backend_that_comes_back/round_robin' . -long -record docs/health/run.json
//
// records another. The same run gives the same bytes. The command knows nothing of the balancer.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

//go:embed run.json
var recorded []byte

// run is what was recorded.
type run struct {
	Rate   int     `json:"rate"` // requests a second
	Events []event `json:"events"`
	Counts []count `json:"counts"`
}

// event is something that happened to the first backend.
type event struct {
	At   float64 `json:"at"` // seconds
	What string  `json:"what"`
}

// count are the requests that came to each backend in the interval that ends then.
type count struct {
	At       float64 `json:"at"` // seconds
	Requests []int   `json:"requests"`
}

// share returns a backend's share of the requests.
func (c count) share(backend int) float64 {
	all := 0
	for _, n := range c.Requests {
		all += n
	}
	return float64(c.Requests[backend]) / float64(max(1, all))
}

func main() {
	if err := draw(os.Stdout, recorded); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// draw draws a run from its JSON.
func draw(w io.Writer, recorded []byte) error {
	var r run
	if err := json.Unmarshal(recorded, &r); err != nil {
		return fmt.Errorf("read the run: %w", err)
	}
	if len(r.Counts) == 0 {
		return fmt.Errorf("the run has no counts")
	}
	p := picture{run: &r}
	p.frame()
	p.events()
	for backend := len(r.Counts[0].Requests) - 1; backend >= 0; backend-- { // the first on top
		p.shares(backend)
	}
	p.text.WriteString("</svg>\n")
	_, err := io.WriteString(w, p.text.String())
	return err
}
