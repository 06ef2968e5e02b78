package clients

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"

	"loadbalancer/clients/store/pgtest"
	"loadbalancer/docs/described"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

// calls holds every call of the tests, by http.DefaultClient, to the API's description.
var calls = described.NewRecorder("../docs/swagger.yaml")

// counts tells which described responses the tests here have to get. Those that all calls have alike
// are got by the root's TestEveryCallRefuses; 408 takes 30 seconds, and package rest tests it. The
// store is not asked for what is limited: 503 comes before the start alone, from package management.
func counts(o *described.Operation, status string) bool {
	return isOurs(o) && o.Path+" "+status != "/limited 503" && !slices.Contains([]string{"400", "401", "403", "408", "413", "429"}, status)
}

// isOurs tells a call of this package from those of package management.
func isOurs(o *described.Operation) bool {
	return !slices.Contains([]string{"backends", "config", "description", "status"}, o.Tag)
}

func runTests(m *testing.M) int {
	http.DefaultTransport = calls.Transport(http.DefaultTransport)
	stop := pgtest.Start()
	defer stop()
	status := calls.Conclude(m.Run(), counts)
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
