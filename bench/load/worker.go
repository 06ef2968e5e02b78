package load

import (
	"context"
	"errors"
	"time"
)

// redialPause follows a failed connect, so that a server that is down is not hammered.
const redialPause = 100 * time.Millisecond

// worker sends the requests of one connection. It is for one goroutine.
type worker struct {
	client     *client
	schedule   *schedule
	recorder   *recorder
	begun      time.Time // the start of the run
	batch      batch
	timer      *time.Timer
	unfinished int64 // requests that the end of ctx cut off
}

func newWorker(c *client, s *schedule, r *recorder) *worker {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &worker{client: c, schedule: s, recorder: r, timer: timer,
		batch: batch{samples: make([]sample, 0, batchSize)}}
}

// run sends requests until the schedule has none left or ctx ends. The caller must also interrupt
// the client when it ends ctx.
func (w *worker) run(ctx context.Context) {
	defer w.flush()
	defer w.client.close()
	now := time.Since(w.begun)
	for {
		due, ok := w.schedule.take(now)
		if !ok {
			return
		}
		begin := now
		if w.schedule.rate > 0 {
			if begin, ok = w.schedule.await(ctx, w.timer, w.begun, due); !ok {
				return
			}
		}
		status, connect, failed := w.send(ctx)
		now = time.Since(w.begun)
		if failed != nil && ctx.Err() != nil {
			w.unfinished++
			return
		}
		w.record(sample{end: now, latency: now - begin, connect: connect, status: status, failure: failed})
		if failed != nil && failed.phase == connecting {
			if !w.pause(ctx) {
				return
			}
			now = time.Since(w.begun)
		}
	}
}

// send sends one request, over a new connection if there is none, and returns how long its connect
// took.
func (w *worker) send(ctx context.Context) (status int, connect time.Duration, failed *failure) {
	var err error
	if w.client.conn.Load() == nil {
		if err = w.client.connect(ctx); err == nil {
			connect = w.client.connectTime
		}
	}
	if err == nil {
		status, err = w.client.exchange()
	}
	errors.As(err, &failed)
	return status, connect, failed
}

func (w *worker) record(s sample) {
	w.batch.samples = append(w.batch.samples, s)
	if w.batch.full(s.end) {
		w.flush()
	}
}

func (w *worker) flush() {
	w.batch.bytesRead, w.client.bytesRead = w.client.bytesRead, 0
	w.batch.bytesSent, w.client.bytesSent = w.client.bytesSent, 0
	w.recorder.add(&w.batch)
}

// pause returns false if ctx ended first.
func (w *worker) pause(ctx context.Context) bool {
	w.timer.Reset(redialPause)
	select {
	case <-w.timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
