package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"loadbalancer/bench/load"
)

const (
	liveRows    = 8  // of the line
	labelColumn = 20 // cells to the left of it

	// MinLiveColumns and MinLiveRows are the smallest terminal that LiveChart is made for: its
	// lines, the one below them, and the shell's.
	MinLiveColumns = 50
	MinLiveRows    = liveRows + 1 + 3 + 1 + 2
)

// LiveChart returns the lines of a chart of the run so far: the responses per second as a line of
// braille dots over the time of the run, and below it, a strip for each of 4xx, 5xx and errors that
// was met, whose label has its highest rate. samples begin with the start of the run and count from
// there. No line takes more than columns cells, which are MinLiveColumns or more. Colored lines
// have escape sequences for colors, which take no cell; nothing but a color is told by color.
func LiveChart(samples []load.Progress, columns int, colored bool) []string {
	width := columns - labelColumn - 1 // the last column stays free: some terminals wrap after it
	responses := func(p load.Progress) int64 { return p.Responses }
	rates := ratesOver(samples, 2*width, responses)
	top := roundAbove(slices.Max(rates))
	var lines []string
	for i, row := range brailleRows(rates, top) {
		label := ""
		switch i {
		case 0:
			label = Count(int64(top)) + "/s"
		case liveRows / 2:
			label = Count(int64(top / 2))
		}
		lines = append(lines, axisLabel(label)+"│"+paint(row, "36", colored))
	}
	lines = append(lines, timeAxis(samples, width))
	for _, s := range strips {
		if len(samples) > 0 && s.count(samples[len(samples)-1]) > 0 {
			lines = append(lines, stripLine(s, samples, width, colored))
		}
	}
	return lines
}

// strip is one line of small bars.
type strip struct {
	name, color string
	count       func(load.Progress) int64
}

// strips are what a live chart tells of below its line. Errors are requests without a response.
var strips = [...]strip{
	{"4xx", "33", func(p load.Progress) int64 { return classCount(p, 4) }},
	{"5xx", "31", func(p load.Progress) int64 { return classCount(p, 5) }},
	{"errors", "35", func(p load.Progress) int64 { return p.Failures }},
}

func classCount(p load.Progress, class int) (n int64) {
	for code, count := range p.Statuses {
		if code/100 == class {
			n += count
		}
	}
	return n
}

// ratesOver returns how many per second were counted in each of n equal parts of the run so far. A
// part in which no sample ends has the rate of the samples around it.
func ratesOver(samples []load.Progress, n int, count func(load.Progress) int64) []float64 {
	rates := make([]float64, n)
	if len(samples) < 2 {
		return rates
	}
	whole := samples[len(samples)-1].Elapsed
	at := func(t time.Duration) float64 { return countAt(samples, t, count) }
	for i := range rates {
		begin, end := whole*time.Duration(i)/time.Duration(n), whole*time.Duration(i+1)/time.Duration(n)
		if length := (end - begin).Seconds(); length > 0 {
			rates[i] = max(0, significant((at(end)-at(begin))/length))
		}
	}
	return rates
}

// significant drops the digits in which equal rates differ because times are whole nanoseconds.
func significant(f float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 5, 64), 64)
	return rounded
}

// countAt returns the count at a time of the run, between two samples in proportion to it.
func countAt(samples []load.Progress, t time.Duration, count func(load.Progress) int64) float64 {
	i, exact := slices.BinarySearchFunc(samples, t, func(p load.Progress, t time.Duration) int {
		return cmp.Compare(p.Elapsed, t)
	})
	switch {
	case exact || i == 0:
		return float64(count(samples[i]))
	case i == len(samples):
		return float64(count(samples[i-1]))
	}
	before, after := samples[i-1], samples[i]
	part := float64(t-before.Elapsed) / float64(after.Elapsed-before.Elapsed)
	return float64(count(before)) + part*float64(count(after)-count(before))
}

// roundAbove returns the smallest of 2, 4, 10, 20, 40, 100 … that is no less than f.
func roundAbove(f float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(max(f, 1))))
	for _, m := range []float64{1, 2, 4} {
		if round := m * decade; round >= f && round > 1 {
			return round
		}
	}
	return 10 * decade
}

// brailleRows draws the rates, two in a cell, as a connected line of dots, four in a cell's height.
func brailleRows(rates []float64, top float64) []string {
	const height = 4 * liveRows
	cells := make([][]rune, liveRows)
	for i := range cells {
		cells[i] = slices.Repeat([]rune{0x2800}, len(rates)/2)
	}
	dots := [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}} // of a cell, from the top
	level := func(i int) int { return min(int(math.Round(rates[i]/top*(height-1))), height-1) }
	for i := range rates {
		to := level(i)
		from := to
		if before := level(max(i-1, 0)); before < to {
			from = before + 1
		} else if before > to {
			from = before - 1
		}
		for y := min(from, to); y <= max(from, to); y++ {
			down := height - 1 - y
			cells[down/4][i/2] |= dots[down%4][i%2]
		}
	}
	rows := make([]string, liveRows)
	for i, row := range cells {
		// Some fonts show a cell without dots as circles.
		rows[i] = strings.ReplaceAll(string(row), "\u2800", " ")
	}
	return rows
}

func timeAxis(samples []load.Progress, width int) string {
	end := "0s"
	if len(samples) > 0 {
		end = samples[len(samples)-1].Elapsed.Round(100 * time.Millisecond).String()
	}
	return axisLabel("0") + "└0s " + strings.Repeat("─", max(0, width-len(end)-4)) + " " + end
}

// stripLine draws the rates as bars, of which the highest, which the label has, fills a cell. A
// rate above 0 always has a bar.
func stripLine(s strip, samples []load.Progress, width int, colored bool) string {
	rates := ratesOver(samples, width, s.count)
	highest := slices.Max(rates)
	bars := make([]rune, width)
	for i, rate := range rates {
		bars[i] = ' '
		if rate > 0 {
			bars[i] = '▁' + rune(math.Ceil(rate/highest*8)) - 1
		}
	}
	if highest >= 10 {
		highest = math.Round(highest)
	}
	label := s.name + " " + number(highest) + "/s"
	return axisLabel(label) + "│" + paint(string(bars), s.color, colored)
}

func axisLabel(s string) string { return fmt.Sprintf("%[1]*.[1]*[2]s", labelColumn-1, s) }

// paint gives the text a color of the terminal's own.
func paint(text, color string, colored bool) string {
	if !colored {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[39m"
}
