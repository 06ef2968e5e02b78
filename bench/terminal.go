package main

import (
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"

	"loadbalancer/bench/report"
)

// terminal is what the progress is shown on. The zero value is no terminal, such as a file.
type terminal struct {
	file    *os.File
	charts  bool // it has the characters of a chart
	colored bool
}

// openTerminal returns the terminal that w is, if it is one and obeys escape sequences. getenv is
// os.Getenv.
func openTerminal(w io.Writer, getenv func(string) string) terminal {
	file, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(file.Fd()) || getenv("TERM") == "dumb" {
		return terminal{}
	}
	return terminal{file: file, charts: showsCharts(getenv), colored: getenv("NO_COLOR") == ""}
}

// showsCharts reports whether the terminal says that it takes UTF-8. The consoles of Linux do, but
// their fonts lack braille.
func showsCharts(getenv func(string) string) bool {
	if name := getenv("TERM"); name == "" || name == "linux" {
		return false
	}
	for _, variable := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set counts
		if value := strings.ToLower(getenv(variable)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// chartColumns returns how wide a chart may be now, or 0 where there is no room for one.
func (t terminal) chartColumns() int {
	if !t.charts {
		return 0
	}
	columns, rows := terminalSize(t.file)
	if columns < report.MinLiveColumns || rows < report.MinLiveRows {
		return 0
	}
	return columns
}
