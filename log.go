package main

import (
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// logFormat is what the log section says, as it is now: a reload may change it. It is safe for
// concurrent use.
type logFormat struct {
	terminal bool // the log is read by a person, which is what "auto" goes by
	level    atomic.Int32
	console  atomic.Bool
}

// apply goes by another valid config from now on.
func (f *logFormat) apply(c logConfig) {
	level, _ := zerolog.ParseLevel(c.Level) // validated
	f.level.Store(int32(level))
	f.console.Store(c.Format == "console" || c.Format == "auto" && f.terminal)
}

// Sample reports whether lines of the level are written.
func (f *logFormat) Sample(level zerolog.Level) bool { return int32(level) >= f.level.Load() }

// to returns a logger that writes to w in the format, but whatever the level.
func (f *logFormat) to(w io.Writer) zerolog.Logger {
	return zerolog.New(&formatted{f, w, zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000"}}).Hook(timestamp{})
}

// formatted writes lines of JSON as they are, or for people to read.
type formatted struct {
	format  *logFormat
	json    io.Writer
	console zerolog.ConsoleWriter
}

// Write writes a line.
func (w *formatted) Write(line []byte) (int, error) {
	if w.format.console.Load() {
		return w.console.Write(line)
	}
	return w.json.Write(line)
}

// newLogger returns a logger that writes to w in the configured format, through the queue returned
// with it. Nothing is written until the queue runs.
func newLogger(c logConfig, w io.Writer) (zerolog.Logger, *logQueue, *logFormat) {
	file, isFile := w.(*os.File)
	format := &logFormat{terminal: isFile && isatty.IsTerminal(file.Fd())}
	format.apply(c)
	queue := newLogQueue(w, format.to)
	return format.to(queue).Sample(format), queue, format
}

// timestamp adds the time to a log line. zerolog's own timestamp takes its format from a package
// variable.
type timestamp struct{}

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Run adds the field.
func (timestamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	var text [len(timeFormat)]byte
	e.Bytes(zerolog.TimestampFieldName, time.Now().AppendFormat(text[:0], timeFormat))
}
