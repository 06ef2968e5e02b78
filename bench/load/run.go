// Package load puts HTTP load on one URL and measures what comes back.
//
// It retries nothing and hides nothing: every request that starts is counted as a response, a
// failure or unfinished. On a schedule, latency counts from when a request was due, so that a slow
// server cannot hide its delays. Memory is bounded whatever the length of the run.
//
// The package knows nothing of flags, output or load balancers.
package load

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// connectsAtOnce keeps a thousand connects from overflowing the server's accept queue.
const connectsAtOnce = 128

// Run opens the connections, sends the requests, waits for their responses and returns what it
// measured. When ctx ends, it interrupts the requests in flight and returns what was measured so
// far. It returns an error for options that Validate rejects, and if no connection could be opened
// at the start. When it returns, every connection is closed and no goroutine is left.
//
// A host name is resolved once, and the first of its addresses that answers takes all the load.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	t, err := o.target()
	if err != nil {
		return nil, err
	}
	schedule := &schedule{requests: o.Requests, duration: o.Duration, rate: o.Rate}
	recorder := newRecorder()
	workers, err := connectAll(ctx, o, t, schedule, recorder)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.address, err)
	}

	interrupted := make(chan struct{})
	disarm := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		schedule.stop()
		for _, w := range workers {
			w.client.interrupt()
		}
	})
	begun := time.Now()
	stopProgress := startProgress(o, recorder, begun)
	var running sync.WaitGroup
	for _, w := range workers {
		w.begun = begun
		running.Go(func() { w.run(ctx) })
	}
	running.Wait()
	elapsed := time.Since(begun)
	stopProgress()
	if !disarm() {
		<-interrupted
	}
	return newResult(o, begun, elapsed, workers, recorder, schedule), nil
}

// connectAll returns a worker per connection. It fails if the first connection does. A later
// connection that cannot be opened is not an error yet: its worker's first request will fail in the
// same way, and is counted.
func connectAll(ctx context.Context, o Options, t target, s *schedule, r *recorder) ([]*worker, error) {
	request := newRequest(o, t)
	workers := make([]*worker, o.Connections)
	first := newClient(t.address, request, o.Timeout)
	if err := first.connect(ctx); err != nil {
		return nil, err
	}
	address := first.conn.Load().RemoteAddr().(*net.TCPAddr).String()
	first.address = address

	var connecting errgroup.Group
	connecting.SetLimit(connectsAtOnce)
	for i := range workers {
		c := first
		if i > 0 {
			c = newClient(address, request, o.Timeout)
		}
		workers[i] = newWorker(c, s, r)
		if !o.KeepAlive {
			c.close() // each request opens its own
			continue
		}
		connecting.Go(func() error {
			if i > 0 && c.connect(ctx) != nil {
				return nil
			}
			r.addConnect(c.connectTime)
			return nil
		})
	}
	return workers, connecting.Wait()
}

// startProgress reports progress until the returned function is called, which waits for the last
// report.
func startProgress(o Options, r *recorder, begun time.Time) (stop func()) {
	if o.Progress == nil {
		return func() {}
	}
	done := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		ticker := time.NewTicker(o.ProgressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p := r.progress()
				p.Elapsed = time.Since(begun)
				o.Progress(p)
			case <-done:
				return
			}
		}
	})
	return func() { close(done); reporting.Wait() }
}

func newResult(o Options, begun time.Time, elapsed time.Duration, workers []*worker, r *recorder, s *schedule) *Result {
	result := &Result{
		Options: o, Started: begun, Elapsed: elapsed,
		Responses: r.responses, Failed: r.failed,
		BytesSent: r.bytesSent, BytesRead: r.bytesRead,
		Latency: newHistogram(3), Connect: r.connects,
		Intervals: r.series.until(elapsed),
	}
	for _, w := range workers {
		result.Unfinished += w.unfinished
	}
	result.Unsent = max(0, s.due(elapsed)-result.Responses-result.Failed-result.Unfinished)
	for code, h := range r.statuses {
		result.Latency.Merge(h)
		result.Statuses = append(result.Statuses, StatusCount{Code: code, Count: h.TotalCount(), Latency: h})
	}
	slices.SortFunc(result.Statuses, func(a, b StatusCount) int { return cmp.Compare(a.Code, b.Code) })
	for _, f := range r.failures {
		result.Failures = append(result.Failures, *f)
	}
	slices.SortFunc(result.Failures, func(a, b FailureCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return result
}
