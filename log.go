package main

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// newLogger returns a logger that writes to w in the configured format, through the queue returned
// with it. Nothing is written until the queue runs.
func newLogger(c logConfig, w io.Writer) (zerolog.Logger, *logQueue) {
	level, _ := zerolog.ParseLevel(c.Level) // validated
	file, isFile := w.(*os.File)
	console := c.Format == "console" || c.Format == "auto" && isFile && isatty.IsTerminal(file.Fd())
	logTo := func(w io.Writer) zerolog.Logger {
		if console {
			w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000"}
		}
		return zerolog.New(w).Hook(timestamp{})
	}
	queue := newLogQueue(w, logTo)
	return logTo(queue).Level(level), queue
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
