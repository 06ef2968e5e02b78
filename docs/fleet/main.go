// The command fleet draws docs/fleet.svg: how far one limit over many instances is passed, which
// requests wait, and what it costs the central state. The runs are those of run.json beside this file:
// the limiter's own code in simulated time, with a model of Redis and of a network. They are recorded by
//
//	go test -count=1 -run TestThousand ./limiter/shared/model -long -record $PWD/docs/fleet/run.json
//
// The same runs give the same bytes.
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

// run is one client's, whose requests come to all instances.
type run struct {
	Instances int     `json:"instances"`
	Capacity  int     `json:"capacity"`
	Load      float64 `json:"load"`  // requests a second, in multiples of the rate
	Burst     int     `json:"burst"` // requests at once
	Ambush    bool    `json:"ambush"`

	Over     float64 `json:"over"`  // tokens above the limit in the worst window
	Bound    int     `json:"bound"` // of that
	Waited   float64 `json:"waited"`
	Tellings float64 `json:"tellings"` // for each admitted request
}

func main() {
	if err := write(os.Stdout, recorded); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write draws the runs from their JSON.
func write(w io.Writer, recorded []byte) error {
	var all []run
	if err := json.Unmarshal(recorded, &all); err != nil {
		return fmt.Errorf("read the runs: %w", err)
	}
	if len(all) == 0 {
		return fmt.Errorf("there are no runs")
	}
	return drawPicture(w, all)
}
