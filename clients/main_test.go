package clients

import (
	"fmt"
	"os"
	"testing"

	"loadbalancer/clients/store/pgtest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	stop := pgtest.Start()
	defer stop()
	status := m.Run()
	stop()
	err := goleak.Find(
		// fasthttp's own: one for the process, one that ends up to ten seconds after its server.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
	if err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}
