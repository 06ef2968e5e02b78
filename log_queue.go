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
	logBatchSize = 64 << 10              // bytes that leave in one write; a longer line leaves alone
	maxSpares    = 4                     // empty batches kept
	logGrace     = time.Second           // that the writer gets at the end
	logPause     = 10 * time.Millisecond // until a full pipe that does not block is tried again
)

// logQueue takes log lines without ever waiting; Run writes them. A line that does not
// fit is dropped and counted. Each Write is one line with its newline. maxLogLines and
// maxLogBytes bound what is held, and it takes at most about twice its size in memory.
// A logQueue is safe for concurrent use. newLogQueue makes one.
type logQueue struct {
	out     io.Writer
	dropped atomic.Uint64

	mu          sync.Mutex
	more        sync.Cond // a batch has come, or the end
	first, last *logBatch // that wait, oldest first
	lines       int       // that wait or are being written
	bytes       int       // of these lines
	missed      int       // lines dropped since the last that fitted
	spare       *logBatch
	spares      int
	closing     bool

	// The writing goroutine owns the following.
	notices zerolog.Logger // writes into head
	head    bytes.Buffer   // a batch with what has to stand before it
	untold  int            // lines lost to failed writes, and not told of
	torn    []byte         // the rest of a line in which a write failed
}

// logBatch holds lines that leave in one write.
type logBatch struct {
	next   *logBatch
	text   []byte
	lines  int
	missed int // lines dropped before the first of these
}

// newLogQueue returns a queue of lines for out. logTo makes the logger of the
// queue's own lines, in the format of the others.
func newLogQueue(out io.Writer, logTo func(io.Writer) zerolog.Logger) *logQueue {
	q := &logQueue{out: out}
	q.more.L = &q.mu
	q.notices = logTo(&q.head)
	return q
}

// Dropped returns how many lines were not written.
func (q *logQueue) Dropped() uint64 { return q.dropped.Load() }

// Write queues a line or drops it. It returns no error: zerolog would print it to
// stderr, whose reader may be the one that has stalled.
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

// add appends a line to the last batch, or to a new one where that is full or lines
// are missing between them.
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

// release makes room for as many lines as the batch has held.
func (q *logQueue) release(b *logBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines -= b.lines
	q.bytes -= len(b.text)
	if q.spares == maxSpares || cap(b.text) > 2*logBatchSize {
		return
	}
	*b = logBatch{text: b.text[:0], next: q.spare}
	q.spare = b
	q.spares++
}

func (q *logQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closing = true
	q.more.Signal()
}

// Run writes until ctx ends, and then what was queued before. It waits for that for
// logGrace at most. A write that is stuck by then is the one goroutine that is left
// behind: nothing can end it but the process, which must not wait for it.
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

// writeAll writes batches as they come, until close. Lines dropped last are reported
// then, because no further line will do so.
func (q *logQueue) writeAll() {
	for b := q.take(); b != nil; b = q.take() {
		q.write(b)
		q.release(b)
	}
	q.mu.Lock()
	missed := q.missed
	q.mu.Unlock()
	if missed+q.untold > 0 {
		q.write(&logBatch{missed: missed})
	}
}

// write writes a batch, preceded by the rest of a torn line and, where lines were
// dropped, by one that says how many. If the write fails, its lines are lost, except the
// one in which it broke off: the next write completes that one first.
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
	end := max(n, len(q.torn)) // of the line in which it broke off
	if end == n && n > 0 && text[n-1] != '\n' {
		end += bytes.IndexByte(text[n:], '\n') + 1
	}
	lost := bytes.Count(text[max(end, len(text)-len(b.text)):], []byte{'\n'})
	if end > len(q.torn) { // the number of dropped lines is out, or will be
		owed = 0
	}
	q.untold = owed + lost
	q.dropped.Add(uint64(lost))
	q.torn = append(q.torn[:0], text[n:end]...)
}

// writeWhole writes a text, and waits where the writer has no room. os.Stdout waits by
// itself, unless another process that has the same pipe sets it to non-blocking mode
// after the start.
func writeWhole(w io.Writer, text []byte) (n int, err error) {
	for {
		written, err := w.Write(text[n:])
		if n += written; !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
		time.Sleep(logPause)
	}
}
