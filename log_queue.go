package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

const (
	maxLogLines  = 8192                  // that wait at once
	maxLogBytes  = 4 << 20               // of these lines
	logBatchSize = 64 << 10              // bytes written at once; a longer line is written alone
	maxSpares    = 4                     // empty batches kept
	logGrace     = time.Second           // that the writer gets at shutdown
	logPause     = 10 * time.Millisecond // before another try at a full non-blocking pipe
	logGather    = 5 * time.Millisecond  // in which lines gather behind those that were written
)

// logQueue accepts log lines without ever blocking; Run writes them. A line that does not fit is
// dropped and counted. Each Write is one line with its newline. maxLogLines and maxLogBytes limit
// what is held, which takes at most about twice its size in memory. A logQueue is safe for
// concurrent use. newLogQueue makes one.
type logQueue struct {
	out     io.Writer
	dropped atomic.Uint64

	mu          sync.Mutex
	more        sync.Cond // signals a batch, or the end
	first, last *logBatch // waiting, oldest first
	lines       int       // waiting or being written
	bytes       int       // of these lines
	missed      int       // lines dropped since the last one that fitted
	spare       *logBatch
	spares      int
	closing     bool

	// The fields below belong to the writing goroutine.
	notices zerolog.Logger // writes into head
	head    bytes.Buffer   // a batch, preceded by the queue's own lines
	untold  int            // lines lost to failed writes and not reported yet
	torn    []byte         // the rest of a line that was written in part
}

// logBatch holds lines that are written at once.
type logBatch struct {
	next   *logBatch
	text   []byte
	lines  int
	missed int // lines dropped before the first of these
}

// newLogQueue returns a queue of lines for out. logTo makes the logger for the queue's own lines,
// in the format of the others.
func newLogQueue(out io.Writer, logTo func(io.Writer) zerolog.Logger) *logQueue {
	q := &logQueue{out: out}
	q.more.L = &q.mu
	q.notices = logTo(&q.head)
	return q
}

// Dropped returns the number of lines that were not written.
func (q *logQueue) Dropped() uint64 { return q.dropped.Load() }

// Write queues a line or drops it. It returns no error: zerolog would print it to stderr, whose
// reader may be the one that has stalled.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	fits := q.lines < maxLogLines && q.bytes+len(line) <= maxLogBytes
	if fits {
		q.add(line)
	} else {
		q.missed++
	}
	q.mu.Unlock()
	if fits {
		q.more.Signal()
	} else {
		q.dropped.Add(1)
	}
	return len(line), nil
}

// add appends a line to the last batch. It begins a new batch if that is full, or if lines were
// dropped in between.
func (q *logQueue) add(line []byte) {
	b := q.last
	if b == nil || q.missed > 0 || len(b.text)+len(line) > logBatchSize {
		b = q.newBatch()
	}
	b.text = append(b.text, line...)
	b.lines++
	q.lines++
	q.bytes += len(line)
}

func (q *logQueue) newBatch() *logBatch {
	b := q.spare
	if b == nil {
		b = &logBatch{}
	} else {
		q.spare, b.next = b.next, nil
		q.spares--
	}
	b.missed, q.missed = q.missed, 0
	if q.last == nil {
		q.first = b
	} else {
		q.last.next = b
	}
	q.last = b
	return b
}

// take waits for a batch. It returns nil after close, once none is left.
func (q *logQueue) take() *logBatch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first == nil && !q.closing {
		q.more.Wait()
	}
	b := q.first
	if b == nil {
		return nil
	}
	if q.first = b.next; q.first == nil {
		q.last = nil
	}
	return b
}

// release frees the room of a batch and keeps it for reuse. It reports whether it was the last one
// for now.
func (q *logQueue) release(b *logBatch) (idle bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	idle = q.first == nil && !q.closing
	q.lines -= b.lines
	q.bytes -= len(b.text)
	if q.spares == maxSpares || cap(b.text) > 2*logBatchSize {
		return idle
	}
	*b = logBatch{text: b.text[:0], next: q.spare}
	q.spare = b
	q.spares++
	return idle
}

func (q *logQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closing = true
	q.more.Signal()
}

// Run writes lines until ctx ends, and then for at most logGrace those still queued. If a write is
// stuck by then, its goroutine is left behind: only the end of the process can stop it, and the
// process must not wait for it.
func (q *logQueue) Run(ctx context.Context) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		q.writeAll()
	}()
	<-ctx.Done()
	q.close()
	select {
	case <-written:
	case <-time.After(logGrace):
	}
}

// writeAll writes batches until close: the first line at once, and those that come within the
// following moment together, since a write for each line would cost more than the line. It then
// reports the lines dropped last, because no later line will.
func (q *logQueue) writeAll() {
	for b := q.take(); b != nil; b = q.take() {
		q.write(b)
		if q.release(b) {
			time.Sleep(logGather)
		}
	}
	q.mu.Lock()
	missed := q.missed
	q.mu.Unlock()
	if missed+q.untold > 0 {
		q.write(&logBatch{missed: missed})
	}
}

// write writes a batch. The rest of a torn line comes first and, if lines were dropped, a line that
// says how many. If the write fails, the lines of the batch are lost, except the one in which it
// stopped: the next write completes that one first.
func (q *logQueue) write(b *logBatch) {
	text, owed := b.text, q.untold+b.missed
	if owed > 0 || len(q.torn) > 0 {
		q.head.Reset()
		_, _ = q.head.Write(q.torn)
		if owed > 0 {
			q.notices.WithLevel(zerolog.WarnLevel).Int("dropped", owed).
				Msg("log lines were dropped: their reader was too slow, or they could not be written")
		}
		_, _ = q.head.Write(b.text)
		text = q.head.Bytes()
	}
	n, err := writeWhole(q.out, text)
	if err == nil {
		q.torn, q.untold = q.torn[:0], 0
		return
	}
	end := max(n, len(q.torn)) // of the line in which the write stopped
	if end == n && n > 0 && text[n-1] != '\n' {
		end += bytes.IndexByte(text[n:], '\n') + 1
	}
	lost := bytes.Count(text[max(end, len(text)-len(b.text)):], []byte{'\n'})
	if end > len(q.torn) { // the number of dropped lines was written, or will be
		owed = 0
	}
	q.untold = owed + lost
	q.dropped.Add(uint64(lost))
	q.torn = append(q.torn[:0], text[n:end]...)
}

// writeWhole writes a text, and waits when the writer has no room. os.Stdout waits by itself,
// unless another process with the same pipe sets it to non-blocking mode after the start.
func writeWhole(w io.Writer, text []byte) (n int, err error) {
	for {
		written, err := w.Write(text[n:])
		if n += written; !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
		time.Sleep(logPause)
	}
}
