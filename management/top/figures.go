package top

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// short returns a figure in at most 6 characters: 0, 0.3, 12, 1,234, 56.7k, 8.9M.
func short(x float64) string {
	switch {
	case x < 0.05:
		return "0"
	case x < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
	case x < 9999.5:
		return grouped(int64(math.Round(x)))
	case x < 999_950:
		return fmt.Sprintf("%.1fk", x/1e3)
	case x < 999_950_000:
		return fmt.Sprintf("%.1fM", x/1e6)
	}
	return fmt.Sprintf("%.1fG", x/1e9)
}

// limitRate returns the rate of a limit, which is above 0.
func limitRate(x float64) string {
	if x < 9.95 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return short(x)
}

// grouped returns a whole number with commas between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// percent returns a share in per cent.
func percent(share float64) string {
	p := share * 100
	if p > 0 && p < 9.95 {
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + "%"
}

// milliseconds returns a time that is given in milliseconds, or a dash for none.
func milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return "–"
	case *ms < 0.995:
		return fmt.Sprintf("%.2f ms", *ms)
	case *ms < 9.95:
		return fmt.Sprintf("%.1f ms", *ms)
	case *ms < 9999.5:
		return fmt.Sprintf("%.0f ms", *ms)
	}
	return fmt.Sprintf("%.1f s", *ms/1e3)
}

// age returns a time that has passed as people say it, in its largest unit.
func age(d time.Duration) string {
	switch d = max(0, d.Round(time.Second)); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// plural returns "1 request" or "2 requests".
func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return grouped(n) + " " + word + "s"
}

var bars = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values with the largest as a full bar. All but zero are higher than zero is.
func sparkline(values []int64) string {
	most := int64(1)
	for _, v := range values {
		most = max(most, v)
	}
	line := make([]rune, len(values))
	for i, v := range values {
		line[i] = bars[0]
		if v > 0 {
			line[i] = bars[1+int(v*int64(len(bars)-2)/most)]
		}
	}
	return string(line)
}

// clean returns a text from outside on one line, without what would control a terminal or reorder
// the text on it.
func clean(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !strconv.IsPrint(r):
			return '�'
		}
		return r
	}, text)
}

// isPlain reports whether a text is of visible ASCII.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// columnsOf returns how many columns a text takes once it is clean.
func columnsOf(text string) int {
	if isPlain(text) {
		return len(text)
	}
	return ansi.StringWidth(clean(text))
}

// cut returns a text of at most so many columns, with … where something is missing.
func cut(text string, width int) string { return ansi.Truncate(text, max(0, width), "…") }

// left and right return a text of just so many columns.
func left(text string, width int) string {
	text = cut(text, width)
	return text + blanks(width-ansi.StringWidth(text))
}

func right(text string, width int) string {
	text = cut(text, width)
	return blanks(width-ansi.StringWidth(text)) + text
}

// ends returns a line with one text at its left and another at its right, if both have room.
func ends(first, last string, width int) string {
	room := width - ansi.StringWidth(first) - ansi.StringWidth(last)
	if room < 1 {
		return cut(first, width)
	}
	return first + blanks(room) + last
}

func blanks(n int) string { return strings.Repeat(" ", max(0, n)) }

// plain returns a text in ASCII that takes as many columns, for terminals that show nothing else.
func plain(text string) string {
	var all strings.Builder
	for text != "" {
		character, width := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
		text = text[len(character):]
		if character[0] < 0x80 { // without its marks
			all.WriteString(character[:1] + strings.Repeat("?", max(0, width-1)))
		} else {
			all.WriteString(strings.Repeat(plainOf(character), width))
		}
	}
	return all.String()
}

// plainOf returns what stands in ASCII for a column of another character.
func plainOf(character string) string {
	if bar := slices.Index(bars, []rune(character)[0]); bar >= 0 {
		return "_.:-=+*#"[bar : bar+1]
	}
	switch character {
	case "…":
		return "~"
	case "–", "·", "×":
		return "-"
	}
	return "?"
}
