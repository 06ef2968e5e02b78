package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"loadbalancer/bench/load"
	"loadbalancer/bench/report"
)

// progressPrinter shows how far a run has come: on a terminal four times a second, as a chart if it
// can show one and as a line else, each in place of the one before; elsewhere in a line every five
// seconds. It changes no mode of the terminal, so that an end at any moment leaves it usable. It is
// for one goroutine.
type progressPrinter struct {
	w        io.Writer
	terminal terminal
	interval time.Duration
	before   load.Progress
	history  report.History

	drawn   int // lines of the chart on the terminal, below which the cursor is
	columns int // of the terminal when they were drawn
}

func newProgressPrinter(w io.Writer, getenv func(string) string) *progressPrinter {
	p := &progressPrinter{w: w, terminal: openTerminal(w, getenv), interval: 5 * time.Second}
	if p.terminal.file != nil {
		p.interval = 250 * time.Millisecond
	}
	return p
}

func (p *progressPrinter) print(now load.Progress) {
	line := report.ProgressLine(now, p.before)
	p.before = now
	if p.terminal.file == nil {
		fmt.Fprintln(p.w, line)
		return
	}
	p.history.Add(now)
	columns := p.terminal.chartColumns()
	if columns == 0 {
		fmt.Fprint(p.w, p.erase(columns), line)
		return
	}
	lines := append(report.LiveChart(p.history.Samples, columns, p.terminal.colored), clip(line, columns-1))
	// In one write, so that no half of a chart is seen.
	fmt.Fprint(p.w, p.erase(columns), strings.Join(lines, "\n"), "\n")
	p.drawn, p.columns = len(lines), columns
}

// erase returns what takes the last chart or line off a terminal that is so wide now. A chart that
// the terminal may have wrapped since stays above.
func (p *progressPrinter) erase(columns int) string {
	up := p.drawn
	if columns != p.columns {
		up = 0
	}
	p.drawn, p.columns = 0, 0
	if up == 0 {
		return "\r\x1b[J"
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", up)
}

// finish clears the terminal for the report.
func (p *progressPrinter) finish() {
	if p.terminal.file != nil {
		fmt.Fprint(p.w, p.erase(p.terminal.chartColumns()))
	}
}

// clip returns so many characters of the line at most, and says with the last that there were more.
func clip(line string, most int) string {
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return line
}
