package acme

import (
	"os"
	"testing"

	"loadbalancer/clients/store/pgtest"
)

func TestMain(m *testing.M) {
	stop := pgtest.Start()
	code := m.Run()
	stop()
	os.Exit(code)
}
