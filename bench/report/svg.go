package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// chart is one chart of the page, as SVG whose plotting area is 1000 by 1000 units whatever its
// size on the screen. Text stands outside of it, so that it is not scaled. A chart without shapes
// is shown as its text alone.
type chart struct {
	ID, Name, Axes string
	Text           string // what the chart shows, for screen readers
	Shapes         []shape
	XTicks, YTicks []tick
	Hovers         []hover
	Figures        table
}

// shape is a line, or an area with the same name in the legend.
type shape struct {
	Name, Class, Path string
	Area              bool
}

// tick is a mark of an axis, At percent from the left or from the top. A minor one loses its label
// where the screen is narrow.
type tick struct {
	At, Label string
	Minor     bool
}

// hover is the strip of one interval, which tells its figures to a pointer.
type hover struct{ X, Width, Text string }

// scale maps the values from low to high to 0 to 1. On a logarithmic one both are above 0.
type scale struct {
	low, high float64
	log       bool
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(v)
	}
	return min(max((v-low)/(high-low), 0), 1)
}

// minTickGap is the least percentage of a narrow screen's plotting area between two labels.
const minTickGap = 20

// marksAcross places marks from the left. Minor are those too near to the next one that is not.
func (s scale) marksAcross(mark func(low, high float64) []plot.Tick) []tick {
	var ticks []tick
	next := math.Inf(1)
	for _, t := range slices.Backward(mark(s.low, s.high)) {
		at := 100 * s.at(t.Value)
		minor := next-at < minTickGap
		if !minor {
			next = at
		}
		ticks = append(ticks, tick{decimal(at), t.Label, minor})
	}
	return ticks
}

// marksDown places marks from the top, but for those without a label.
func (s scale) marksDown(mark func(low, high float64) []plot.Tick) []tick {
	var ticks []tick
	for _, t := range mark(s.low, s.high) {
		if t.Label != "" {
			ticks = append(ticks, tick{At: decimal(100 - 100*s.at(t.Value)), Label: t.Label})
		}
	}
	return ticks
}

// step is one level of a line of steps. Without a value, the line is interrupted.
type step struct {
	begin, end float64 // seconds
	value      float64
	none       bool
}

// linePath draws the steps as a line.
func linePath(x, y scale, steps []step) string {
	var b strings.Builder
	drawing := false
	for _, s := range steps {
		if s.none {
			drawing = false
			continue
		}
		if drawing {
			fmt.Fprintf(&b, "V%sH%s", down(y, s.value), across(x, s.end))
		} else {
			fmt.Fprintf(&b, "M%s %sH%s", across(x, s.begin), down(y, s.value), across(x, s.end))
		}
		drawing = true
	}
	return b.String()
}

// areaPath fills what lies between two lines of steps of the same times.
func areaPath(x, y scale, upper, lower []step) string {
	if len(upper) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(linePath(x, y, upper))
	for _, s := range slices.Backward(lower) {
		fmt.Fprintf(&b, "L%s %sH%s", across(x, s.end), down(y, s.value), across(x, s.begin))
	}
	b.WriteByte('Z')
	return b.String()
}

func across(x scale, v float64) string { return decimal(1000 * x.at(v)) }
func down(y scale, v float64) string   { return decimal(1000 - 1000*y.at(v)) }

// decimal returns f with one decimal at most.
func decimal(f float64) string {
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
}
