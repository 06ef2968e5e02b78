package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

// BenchmarkImport imports one new client in each iteration:
//
//	go test -run XXX -bench Import -benchtime 100000x ./clients
func BenchmarkImport(b *testing.B) {
	for _, place := range []struct {
		name   string
		config func(testing.TB) Config
	}{
		{"memory", func(testing.TB) Config { return Config{Store: memoryStore} }},
		{"file", fileConfig},
		{"postgres", postgresConfig},
	} {
		for _, c := range []struct{ name, line string }{
			{"addresses", `{"ip_address":"10.%d.%d.%d","capacity":100,"rate_per_second":10}` + "\n"},
			{"keys", `{"name":"customer-%d-%d-%d","api_key":"the key of customer %[1]d-%[2]d-%[3]d","capacity":100,"rate_per_second":10}` + "\n"},
		} {
			b.Run(place.name+"/"+c.name, func(b *testing.B) {
				s, _ := startService(b, place.config(b), testLimiter(), keysAreRead, zerolog.Nop())
				var body strings.Builder
				for i := range b.N {
					fmt.Fprintf(&body, c.line, i>>16, i>>8&255, i&255)
				}
				var ctx fasthttp.RequestCtx
				ctx.Request.SetBodyString(body.String())
				b.ResetTimer()
				r, err := s.usecase.importClients(b.Context(), call{}, &ndjsonSource{rest.NewLines(&ctx)}, false)
				if err != nil || r.Created != b.N {
					b.Errorf("%s, %v, of %d", r.String(), err, b.N)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "clients/s")
			})
		}
	}
}
