package upstream

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/reason"
)

// TestBackendMetrics counts what fails because of a backend by reason, and the time that it takes
// to respond.
func TestBackendMetrics(t *testing.T) {
	p := NewPool("a\"", withBackends("http://10.0.0.1"), zerolog.Nop())
	b := p.all()[0]
	for _, attempt := range []Attempt{
		{Status: 200, Took: 3 * time.Millisecond},
		{Status: 200, Took: time.Millisecond, Reason: reason.ClientGone},
		{Status: 200, Took: 7 * time.Millisecond, Reason: reason.BackendAborted},
		{Reason: reason.ConnectFailed}, {Reason: reason.ConnectFailed}, {Reason: reason.Overloaded}, {Reason: reason.RequestTimeout},
	} {
		b.count(attempt.Status, attempt.Reason, attempt.Took)
	}
	var text bytes.Buffer
	WriteBackends(&text, []*Pool{p})
	const labels = `{pool="a\"",backend="10.0.0.1:80"`
	for _, want := range []string{
		`lb_backend_requests_total` + labels + `,code="200"} 3`, `lb_backend_requests_total` + labels + `,code="502"} 2`,
		`lb_backend_errors_total` + labels + `,reason="connect_failed"} 2`, `lb_backend_errors_total` + labels + `,reason="overloaded"} 1`,
		`lb_backend_errors_total` + labels + `,reason="backend_aborted"} 1`,
		`lb_backend_duration_seconds_bucket` + labels + `,le="0.001"} 1`, `lb_backend_duration_seconds_bucket` + labels + `,le="+Inf"} 3`,
		`lb_backend_duration_seconds_sum` + labels + `} 0.011`, `lb_backend_duration_seconds_count` + labels + `} 3`,
		`lb_backend_up` + labels + `} 1`, `lb_backend_in_flight` + labels + `} 0`,
	} {
		if !strings.Contains("\n"+text.String(), "\n"+want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text.String())
		}
	}
	if n := strings.Count(text.String(), "lb_backend_errors_total{"); n != 3 {
		t.Errorf("%d reasons are counted, want 3: the client's faults are not the backend's", n)
	}
}

// BenchmarkScrape writes the metrics of 1,000 backends that have seen traffic and failures.
func BenchmarkScrape(b *testing.B) {
	urls := make([]string, 1000)
	for i := range urls {
		urls[i] = fmt.Sprintf("http://10.0.%d.%d:8080", i/250, i%250+1)
	}
	p := NewPool("main", withBackends(urls...), zerolog.Nop())
	for i, backend := range p.all() {
		for n := range 100 {
			backend.count(200+n%4, reason.None, time.Duration(i*n)*time.Microsecond)
		}
		backend.count(0, reason.ConnectFailed, 0)
		backend.count(0, reason.ResponseTimeout, 0)
	}
	var text bytes.Buffer
	pools := []*Pool{p}
	b.ReportAllocs()
	for b.Loop() {
		text.Reset()
		WriteRequests(&text, NoPool(), pools)
		WriteBackends(&text, pools)
	}
	b.ReportMetric(float64(bytes.Count(text.Bytes(), []byte("\n"))), "lines")
	b.ReportMetric(float64(text.Len()), "bytes")
}
