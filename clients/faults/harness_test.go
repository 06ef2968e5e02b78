package faults

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
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
	flag.Parse()
	// The parallel tests mostly wait for what is away.
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		panic("BUG: " + err.Error())
	}
	dir, err := os.MkdirTemp("", "faults-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // the servers' user reads the template in it
	}
	template.dir = dir
	if err == nil {
		binary, err = balancer.Binary(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	shared.stop()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// waitFor polls until is returns true, for at most deadline.
func waitFor(t *testing.T, what string, is func() bool) (took time.Duration) {
	t.Helper()
	return balancer.WaitFor(t, deadline, what, is)
}
