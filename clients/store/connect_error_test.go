package store

import (
	"context"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestConnectErrorIsOneLine has a server that is not there, which pgx tries with TLS and without.
func TestConnectErrorIsOneLine(t *testing.T) {
	p, err := OpenPostgres(PostgresConfig{URL: "postgres://lb@127.0.0.1:1/lb"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	err = p.Prepare(context.Background())
	if err == nil || strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "refused") != 1 {
		t.Errorf("the error is %q", err)
	}
	if _, listening := p.Listen(context.Background()); listening == nil || strings.Contains(listening.Error(), "\n") {
		t.Errorf("the error of a listener is %q", listening)
	}
}
