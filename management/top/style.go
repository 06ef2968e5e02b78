package top

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// style is how a text stands out. Colour is never the only sign: the text itself says the same.
type style string

const (
	bold   style = "1"
	faint  style = "2"
	marked style = "7" // reversed
	good   style = "32"
	warn   style = "33"
	bad    style = "1;31"
)

// on returns a text in the style.
func (s style) on(text string) string {
	if s == "" || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}

// over returns a text in the style over a line or two.
func (s style) over(text string, width int) []string {
	first, rest, more := strings.Cut(ansi.Wordwrap(text, width, ""), "\n")
	lines := []string{s.on(left(first, width))}
	if more {
		lines = append(lines, s.on(left(strings.ReplaceAll(rest, "\n", " "), width)))
	}
	return lines
}
