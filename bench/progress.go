package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"

	"loadbalancer/bench/load"
	"loadbalancer/bench/report"
)

// progressPrinter shows how far a run has come: on a terminal in one line that it overwrites four
// times a second, elsewhere in a line every five seconds. It is for one goroutine.
type progressPrinter struct {
	w        io.Writer
	terminal bool
	interval time.Duration
	before   load.Progress
}

func newProgressPrinter(w io.Writer) *progressPrinter {
	file, ok := w.(*os.File)
	if ok && isatty.IsTerminal(file.Fd()) {
		return &progressPrinter{w: w, terminal: true, interval: 250 * time.Millisecond}
	}
	return &progressPrinter{w: w, interval: 5 * time.Second}
}

func (p *progressPrinter) print(now load.Progress) {
	format := "%s\n"
	if p.terminal {
		format = "\r%s\x1b[K" // and clear what is left of a longer line
	}
	fmt.Fprintf(p.w, format, report.ProgressLine(now, p.before))
	p.before = now
}

// finish clears the line on the terminal for the report.
func (p *progressPrinter) finish() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
