// The command bucket draws docs/bucket.svg: what a token bucket holds while requests come. The
// requests are made up, the decisions are the limiter's. The same decisions give the same bytes.
// The command knows nothing of how the limiter decides.
package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"loadbalancer/limiter"
)

// sold is the limit of the client in the picture.
var sold = limiter.Limit{Capacity: 5, RatePerSecond: 1}

// request is one request of the client and what the limiter made of it.
type request struct {
	at       time.Duration // since the left edge of the picture
	decision limiter.Decision
}

func main() {
	if err := draw(os.Stdout, sold, ask(sold, arrivals(sold))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// arrivals returns when requests come: a burst, one request after the Retry-After of the burst's
// first rejection, a trickle below the rate, and a burst after a pause.
func arrivals(limit limiter.Limit) []time.Duration {
	const gap = 120 * time.Millisecond // in a burst
	var at []time.Duration
	for i := range 9 {
		at = append(at, time.Second+time.Duration(i)*gap)
	}
	first, _ := firstRejection(ask(limit, at))
	at = append(at, first.at+first.decision.RetryAfter)
	for i := range 6 {
		at = append(at, 4*time.Second+time.Duration(i)*1500*time.Millisecond)
	}
	for i := range 8 {
		at = append(at, 14500*time.Millisecond+time.Duration(i)*gap)
	}
	return at
}

// ask has a new limiter decide about requests at these times, which are in order.
func ask(limit limiter.Limit, at []time.Duration) []request {
	config := limiter.DefaultConfig()
	config.Default.Limit = limit
	l := limiter.New(config)
	client, start := l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now()

	requests := make([]request, len(at))
	for i, t := range at {
		requests[i].at = t
		l.Admit(client, start.Add(t), &requests[i].decision).Release()
	}
	return requests
}

func firstRejection(requests []request) (r request, ok bool) {
	for _, r := range requests {
		if !r.decision.Allowed {
			return r, true
		}
	}
	return request{}, false
}

// tokens returns what the bucket held right after the request, by the decision alone.
func (r request) tokens(limit limiter.Limit) float64 {
	return float64(r.decision.Remaining) + 1 - r.decision.Reset.Seconds()*limit.RatePerSecond
}

func draw(w io.Writer, limit limiter.Limit, requests []request) error {
	p := picture{limit: limit}
	p.frame(requests)
	p.level(requests)
	p.retry(requests)
	p.marks(requests)
	p.text.WriteString("</svg>\n")
	_, err := io.WriteString(w, p.text.String())
	return err
}
