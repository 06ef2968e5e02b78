package faults

import (
	"flag"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
)

var long = flag.Bool("long", false, "run the long forms")

// deadline bounds what a test waits for where the issue is not how long it takes.
const deadline = 20 * time.Second

// binary is the path of the balancer: that of LB_BINARY, or one that is built here.
var binary string

func TestMain(m *testing.M) {
	balancer.Parallel(6)
	balancer.Main(func(dir, path string) int {
		binary, template.dir = path, dir
		defer shared.stop()
		return m.Run()
	})
}

// waitFor polls until is returns true, for at most deadline.
func waitFor(t *testing.T, what string, is func() bool) (took time.Duration) {
	t.Helper()
	return balancer.WaitFor(t, deadline, what, is)
}
