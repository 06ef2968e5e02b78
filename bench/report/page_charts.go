package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// layer is what one column of a chart's figures counts.
type layer struct {
	name, class string
	perSecond   func(Interval) float64
}

// charts returns the charts of the page.
func charts(s Summary, latencies *hdrhistogram.Histogram) []chart {
	return []chart{
		ratesChart("throughput", "Requests per second by status class", s, classLayers(s)),
		latencyChart(s),
		ratesChart("errors", "Errors per second", s, errorLayers(s)),
		percentilesChart(latencies),
	}
}

// classLayers returns a layer for each class of status that the run has met.
func classLayers(s Summary) []layer {
	met := map[string]bool{}
	for _, in := range s.Intervals {
		for code := range in.Statuses {
			met[statusClass(code)] = true
		}
	}
	var layers []layer
	for _, class := range slices.Sorted(maps.Keys(met)) {
		name := "c" + class
		if class == "other" {
			name = class
		}
		layers = append(layers, layer{class, name, func(in Interval) float64 {
			var n int64
			for code, count := range in.Statuses {
				if statusClass(code) == class {
					n += count
				}
			}
			return rate(n, in)
		}})
	}
	return layers
}

// statusClass returns 2xx for 204, and other for what is no class of HTTP.
func statusClass(code string) string {
	if len(code) == 3 && code[0] >= '1' && code[0] <= '5' {
		return code[:1] + "xx"
	}
	return "other"
}

func errorLayers(s Summary) []layer {
	if s.Errors == 0 {
		return nil
	}
	return []layer{{"errors", "errors", func(in Interval) float64 { return rate(in.Errors, in) }}}
}

func rate(n int64, in Interval) float64 { return float64(n) / max(in.LengthSeconds, 1e-9) }

// ratesChart stacks the layers.
func ratesChart(id, name string, s Summary, layers []layer) chart {
	c := chart{ID: id, Name: name, Axes: "per second, over the seconds of the run", Text: "None."}
	if len(layers) == 0 || len(s.Intervals) == 0 {
		return c
	}
	c.Figures = table{Name: name, Head: []string{"from s"}, Rows: startCells(s)}
	highest, base := 0.0, make([]step, len(s.Intervals))
	stacks := make([][]step, len(layers))
	for i, in := range s.Intervals {
		base[i] = step{begin: in.StartSeconds, end: in.StartSeconds + in.LengthSeconds}
	}
	for l, layer := range layers {
		c.Figures.Head = append(c.Figures.Head, layer.name)
		stacks[l] = slices.Clone(base)
		for i, in := range s.Intervals {
			value := layer.perSecond(in)
			stacks[l][i].value += value
			c.Figures.Rows[i] = append(c.Figures.Rows[i], fixed(value, 1))
			highest = max(highest, stacks[l][i].value)
		}
		base = stacks[l]
	}
	x, y := timeScale(s), scale{high: max(1, highest*1.05)}
	lower := slices.Clone(base)
	for i := range lower {
		lower[i].value = 0
	}
	for l, layer := range layers {
		c.Shapes = append(c.Shapes, shape{layer.name, layer.class, areaPath(x, y, stacks[l], lower), true})
		lower = stacks[l]
	}
	c.XTicks, c.YTicks = x.marksAcross(plainTicks), y.marksDown(plainTicks)
	c.Hovers = hovers(x, s, c.Figures)
	c.Text = fmt.Sprintf("%s of a run of %s s, at most %s. The table below has the figures.", name, fixed(s.ElapsedSeconds, 1), number(highest))
	return c
}

// latencyLines are the lines of the latency over time.
var latencyLines = [...]struct {
	name string
	of   func(*Latency) float64 // milliseconds
}{
	{"p50", func(l *Latency) float64 { return l.P50 }},
	{"p90", func(l *Latency) float64 { return l.P90 }},
	{"p99", func(l *Latency) float64 { return l.P99 }},
	{"max", func(l *Latency) float64 { return l.Max }},
}

// latencyChart has a logarithmic axis. A line is interrupted where there was no response.
func latencyChart(s Summary) chart {
	c := chart{ID: "latency", Name: "Latency over time", Axes: "latency, over the seconds of the run", Text: "No responses."}
	if s.LatencyMS == nil {
		return c
	}
	c.Figures = table{Name: "Latency over time, in ms", Head: []string{"from s"}, Rows: startCells(s)}
	low, high := s.LatencyMS.Max/1000, s.LatencyMS.Max/1000
	lines := make([][]step, len(latencyLines))
	for l, line := range latencyLines {
		c.Figures.Head = append(c.Figures.Head, line.name)
		for i, in := range s.Intervals {
			next := step{begin: in.StartSeconds, end: in.StartSeconds + in.LengthSeconds, none: in.LatencyMS == nil}
			cell := "–"
			if !next.none {
				next.value = line.of(in.LatencyMS) / 1000
				low, high = min(low, next.value), max(high, next.value)
				cell = fixed(line.of(in.LatencyMS), 3)
			}
			lines[l] = append(lines[l], next)
			c.Figures.Rows[i] = append(c.Figures.Rows[i], cell)
		}
	}
	x, y := timeScale(s), scale{below(max(low, 1e-6)), above(max(high, 1e-6)), true}
	for l, line := range latencyLines {
		c.Shapes = append(c.Shapes, shape{Name: line.name, Class: line.name, Path: linePath(x, y, lines[l])})
	}
	c.XTicks, c.YTicks = x.marksAcross(plainTicks), y.marksDown(latencyTicks)
	c.Hovers = hovers(x, s, c.Figures)
	c.Text = fmt.Sprintf("Percentiles of the latency on a logarithmic axis; of the whole run, p50 is %s, p99 %s, the longest %s. The table below has the figures.",
		milliseconds(s.LatencyMS.P50), milliseconds(s.LatencyMS.P99), milliseconds(s.LatencyMS.Max))
	return c
}

// percentilesChart gives each further nine of the percentile the same space: x is 1/(1-quantile).
func percentilesChart(h *hdrhistogram.Histogram) chart {
	c := chart{ID: "percentiles", Name: "Latency by percentile", Axes: "latency, by percentile of the responses", Text: "No responses."}
	if h.TotalCount() == 0 {
		return c
	}
	points := percentileLine(h)
	x := scale{1, points[len(points)-1].X, true}
	y := scale{below(max(points[0].Y, 1e-6)), above(max(points[len(points)-1].Y, 1e-6)), true}
	var b strings.Builder
	for i, p := range points {
		fmt.Fprintf(&b, "%c%s %s", "ML"[min(i, 1)], across(x, p.X), down(y, p.Y))
	}
	c.Shapes = []shape{{Name: "all responses", Class: "all", Path: b.String()}}
	c.XTicks, c.YTicks = x.marksAcross(percentileTicks), y.marksDown(latencyTicks)
	c.Figures = table{Name: "Latency by percentile, in ms", Head: []string{"percentile", "latency"}}
	for _, tick := range percentileTicks(1, x.high) {
		ms := float64(min(h.ValueAtQuantile(100*(1-1/tick.Value)), h.Max())) / 1000
		c.Figures.Rows = append(c.Figures.Rows, []string{tick.Label, fixed(ms, 3)})
	}
	c.Figures.Rows = append(c.Figures.Rows, []string{"100 %", fixed(float64(h.Max())/1000, 3)})
	c.Text = fmt.Sprintf("The latency that so many of %s responses did not exceed. The table below has the figures.", Count(h.TotalCount()))
	return c
}

func timeScale(s Summary) scale { return scale{high: max(s.ElapsedSeconds, 0.001)} }

// startCells begins a row of figures for each interval.
func startCells(s Summary) [][]string {
	rows := make([][]string, len(s.Intervals))
	for i, in := range s.Intervals {
		rows[i] = []string{fixed(in.StartSeconds, 3)}
	}
	return rows
}

// hovers returns a strip for each interval with its row of the figures.
func hovers(x scale, s Summary, figures table) []hover {
	strips := make([]hover, len(s.Intervals))
	for i, in := range s.Intervals {
		var b strings.Builder
		for column, cell := range figures.Rows[i] {
			if column > 0 {
				b.WriteString(", ")
			}
			b.WriteString(figures.Head[column] + " " + cell)
		}
		strips[i] = hover{across(x, in.StartSeconds), decimal(1000 * in.LengthSeconds / x.high), b.String()}
	}
	return strips
}
