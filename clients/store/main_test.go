package store

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"loadbalancer/clients/store/pgtest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writeAndDieEnv); path != "" {
		writeAndDie(path)
	}
	if what := os.Getenv(writeForeverEnv); what != "" {
		writeForever(what)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	stop := pgtest.Start()
	defer stop()
	status := m.Run()
	stop()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}
