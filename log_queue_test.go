package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// logPipe is a pipe of 4 KiB, where the system lets it be as small.
func logPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	narrow(t, w)
	return r, w
}

func narrow(t *testing.T, pipe *os.File) {
	t.Helper()
	const setPipeSize = 1031 // F_SETPIPE_SZ
	raw, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, 4096)
	})
}

// jsonLog is the config of a log as most have it.
var jsonLog = logConfig{Level: "info", Format: "json"}

// startLogger returns a logger whose queue runs until end or the test's end.
func startLogger(t *testing.T, c logConfig, w io.Writer) (log zerolog.Logger, queue *logQueue, end func()) {
	t.Helper()
	log, queue, _ = newLogger(c, w)
	end = beside(queue.Run)
	t.Cleanup(end)
	return log, queue, end
}

// logged is a line as the tests write it, or one of the queue's own.
type logged struct {
	number  int
	dropped int // of the queue's own; else 0
}

var consoleLine = regexp.MustCompile(`^\x1b\[90m\d\d:\d\d:\d\d\.\d{3}\x1b\[0m .*(number|dropped)=\x1b\[0m(\d+)`)

func parseLogged(t *testing.T, line string) logged {
	t.Helper()
	var l logged
	if m := consoleLine.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[2])
		if m[1] == "dropped" {
			return logged{dropped: n}
		}
		return logged{number: n}
	}
	entry := struct {
		Number  *int
		Dropped *int
		Time    string
		Level   string
	}{&l.number, &l.dropped, "", ""}
	if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" {
		t.Fatalf("line %q: %v", line, err)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", entry.Time); err != nil {
		t.Errorf("line %q: %v", line, err)
	}
	return l
}

// requireAccounted checks that of the lines 1 to last each is there, in order, or is among those
// that a line in its place says were dropped.
func requireAccounted(t *testing.T, text string, last int, dropped uint64) {
	t.Helper()
	next, all := 1, 0
	for line := range strings.Lines(text) {
		l := parseLogged(t, line)
		if l.number == 0 {
			next += l.dropped
			all += l.dropped
			continue
		}
		if l.number != next {
			t.Fatalf("line %d stands where %d is due", l.number, next)
		}
		next++
	}
	if next != last+1 || uint64(all) != dropped {
		t.Errorf("%d lines are accounted for, want %d; %d are said to be dropped, %d were", next-1, last, all, dropped)
	}
}

// A reader that has stalled holds up nothing, and when it reads on it learns how many lines it has
// missed, and where.
func TestLogReaderStalls(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		for _, test := range []struct{ name, filling string }{
			{"many lines", ""},
			{"large lines", strings.Repeat("x", 10_000)},
		} {
			t.Run(format+", "+test.name, func(t *testing.T) {
				r, w := logPipe(t)
				log, queue, end := startLogger(t, logConfig{Level: "info", Format: format}, w)
				number := 0
				write := func() {
					number++
					log.Info().Int("number", number).Str("text", test.filling).Msg("test")
				}
				for queue.Dropped() < 100 {
					if write(); number > 2*maxLogLines {
						t.Fatal("no line is dropped")
					}
				}
				if held := number - 100; test.filling == "" && held < maxLogLines || test.filling != "" && held > maxLogBytes/len(test.filling)+1 {
					t.Errorf("%d lines were held", held)
				}
				in := bufio.NewReader(r)
				var got strings.Builder
				for range 1000 { // there is room now
					line, err := in.ReadString('\n')
					if err != nil {
						break
					}
					got.WriteString(line)
					if number < 20_000 {
						write()
					}
				}
				read := make(chan bool)
				go func() {
					_, _ = io.Copy(&got, in)
					close(read)
				}()
				waitFor(t, "the lines that wait", func() bool {
					queue.mu.Lock()
					defer queue.mu.Unlock()
					return queue.lines == 0
				})
				write()
				end()
				w.Close()
				<-read
				requireAccounted(t, got.String(), number, queue.Dropped())
			})
		}
	}
}

// The writer gets its time at the end, and not a moment more; where lines can be written it needs
// none of it.
func TestLogAtTheEnd(t *testing.T) {
	t.Run("of a reader", func(t *testing.T) {
		r, w := logPipe(t)
		got := make(chan string)
		go func() {
			text, _ := io.ReadAll(r)
			got <- string(text)
		}()
		log, queue, end := startLogger(t, jsonLog, w)
		for i := range maxLogLines / 2 {
			log.Info().Int("number", i+1).Msg("test")
		}
		begun := time.Now()
		end()
		took := time.Since(begun)
		w.Close()
		requireAccounted(t, <-got, maxLogLines/2, queue.Dropped())
		if took >= logGrace {
			t.Errorf("the end took %s", took)
		}
	})
	t.Run("of a reader that has stalled", func(t *testing.T) {
		_, w := logPipe(t)
		log, _, end := startLogger(t, jsonLog, w)
		for i := range 1000 {
			log.Info().Int("number", i+1).Msg("test")
		}
		begun := time.Now()
		end()
		if took := time.Since(begun); took < logGrace || took > 2*logGrace {
			t.Errorf("the end took %s, want %s", took, logGrace)
		}
		log.Info().Msg("what comes later waits for nothing")
	})
}

// Lines that cannot be written are dropped ones. The queue goes on once it can write, and completes
// the line that it was in.
func TestLogReaderGoesAndComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(flags int) *os.File {
		file, err := os.OpenFile(path, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	first := open(os.O_RDONLY | syscall.O_NONBLOCK)
	w := open(os.O_WRONLY)
	narrow(t, w)
	log, queue, end := startLogger(t, jsonLog, w)
	const lines = 1000
	for i := range lines { // more than the pipe holds, and more than one batch
		log.Info().Int("number", i+1).Str("text", strings.Repeat("x", 100)).Msg("test")
	}
	var got bytes.Buffer
	if _, err := io.CopyN(&got, first, 10_001); err != nil { // to somewhere within a line
		t.Fatal(err)
	}
	first.Close()
	waitFor(t, "lines to be dropped", func() bool { return queue.Dropped() > 0 })
	second := open(os.O_RDONLY | syscall.O_NONBLOCK)
	read := make(chan bool)
	go func() {
		_, _ = io.Copy(&got, second)
		close(read)
	}()
	log.Info().Int("number", lines+1).Msg("test")
	end()
	w.Close()
	<-read
	if text := got.String(); !strings.HasSuffix(text, "\n") || queue.Dropped() >= lines {
		t.Errorf("%d lines were dropped; the end of what came is %q", queue.Dropped(), text[max(0, len(text)-200):])
	}
	requireAccounted(t, got.String(), lines+1, queue.Dropped())
}

// A pipe that another process has set to non-blocking mode is full, and not broken: its lines wait
// for the reader.
func TestLogPipeThatDoesNotBlock(t *testing.T) {
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(ends[0]), "r"), os.NewFile(uintptr(ends[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	narrow(t, w)
	if err := syscall.SetNonblock(ends[1], true); err != nil { // too late for w to notice
		t.Fatal(err)
	}
	log, queue, end := startLogger(t, jsonLog, w)
	const lines = 1000
	for i := range lines {
		log.Info().Int("number", i+1).Msg("test")
	}
	time.Sleep(2 * logPause) // the writer meets the full pipe
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	waitFor(t, "the lines that wait", func() bool {
		queue.mu.Lock()
		defer queue.mu.Unlock()
		return queue.lines == 0
	})
	end()
	w.Close()
	if queue.Dropped() > 0 {
		t.Errorf("%d lines were dropped", queue.Dropped())
	}
	requireAccounted(t, <-read, lines, 0)
}

// A full disk is no reason for anything but to count.
func TestLogOnFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	log, queue, _ := startLogger(t, jsonLog, full)
	for i := range 3 {
		log.Info().Msg("test")
		waitFor(t, "the line to be dropped", func() bool { return queue.Dropped() == uint64(i+1) })
	}
}

// TestTornLine fails a write at each byte of a batch, with and without lines that were dropped
// before: what the writer has got in the end is whole lines, each accounted for.
func TestTornLine(t *testing.T) {
	for _, missed := range []int{0, 3} {
		for at := 0; at < 400; at++ {
			var text bytes.Buffer
			log, queue, _ := newLogger(jsonLog, &brittle{to: &text, breaks: []int{at, 1, 0}})
			for i := range 4 {
				queue.missed += missed
				queue.dropped.Add(uint64(missed))
				log.Info().Int("number", (i+1)*(missed+1)).Msg("test")
				if i < 3 {
					queue.write(queue.take())
				}
			}
			end := beside(queue.Run)
			end()
			if requireAccounted(t, text.String(), 4*(missed+1), queue.Dropped()); t.Failed() {
				t.Fatalf("broken off at byte %d, with %d dropped:\n%s", at, missed, text.String())
			}
		}
	}
}

// brittle writes only so many bytes of its first writes, and then fails them.
type brittle struct {
	to     io.Writer
	breaks []int
}

func (b *brittle) Write(p []byte) (int, error) {
	if len(b.breaks) == 0 {
		return b.to.Write(p)
	}
	n, err := b.to.Write(p[:min(b.breaks[0], len(p))])
	if b.breaks = b.breaks[1:]; n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// The log of a request costs no memory, nor does its way out.
func TestLogAllocatesNothing(t *testing.T) {
	log, queue, _ := startLogger(t, jsonLog, io.Discard)
	line := func() { log.Info().Str("key", "value").Msg("test") }
	for range 10 * maxLogLines { // buffers and pools fill
		line()
	}
	if n := testing.AllocsPerRun(1000, line); n != 0 {
		t.Errorf("%v allocations a line, want 0", n)
	}
	waitFor(t, "the lines to leave", func() bool {
		queue.mu.Lock()
		defer queue.mu.Unlock()
		return queue.lines == 0 && queue.bytes == 0
	})
}

// countedWrites counts the writes to it.
type countedWrites struct{ writes, lines atomic.Int64 }

func (w *countedWrites) Write(text []byte) (int, error) {
	w.writes.Add(1)
	w.lines.Add(int64(bytes.Count(text, []byte{'\n'})))
	return len(text), nil
}

// TestLogLinesGather has lines that follow one another closely written together, and the last of
// them without another that follows.
func TestLogLinesGather(t *testing.T) {
	const lines = 1000
	w := &countedWrites{}
	log, _, _ := startLogger(t, jsonLog, w)
	for n := range lines {
		log.Info().Int("number", n).Send()
	}
	for deadline := time.Now().Add(10 * time.Second); w.lines.Load() < lines; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d lines were written", w.lines.Load(), lines)
		}
	}
	if n := w.writes.Load(); n > lines/10 {
		t.Errorf("%d lines took %d writes", lines, n)
	}
}
