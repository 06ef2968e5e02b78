package acme

import (
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/zap"

	"loadbalancer/proxy/acme/acmetest"
)

// Lines of certmagic keep their levels and fields.
func TestBridge(t *testing.T) {
	log := &acmetest.Lines{}
	l := newBridge(zerolog.New(log).Level(zerolog.InfoLevel)).Named("obtain").With(zap.String("identifier", "www.example.test"))
	l.Debug("not written")
	l.Info("acquiring lock")
	l.Warn("slow", zap.Duration("after", 2*time.Second))
	l.Error("failed", zap.Error(errors.New("no route")))
	const want = `{"level":"info","identifier":"www.example.test","part":"obtain","message":"acquiring lock"}
{"level":"warn","identifier":"www.example.test","part":"obtain","after":2000,"message":"slow"}
{"level":"error","identifier":"www.example.test","part":"obtain","error":"no route","message":"failed"}
`
	if got := log.String(); got != want {
		t.Errorf("got\n%s, not\n%s", got, want)
	}
}
