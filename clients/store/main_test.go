package store

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writeAndDieEnv); path != "" {
		writeAndDie(path)
	}
	os.Exit(m.Run())
}
