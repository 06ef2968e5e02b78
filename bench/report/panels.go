package report

import (
	"image/color"
	"math"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"loadbalancer/bench/load"
)

var (
	errorColor = color.RGBA{R: 0x5b, G: 0x2a, B: 0x6e, A: 0xff}
	lineColors = [...]color.RGBA{ // p50, p99, max
		{0x2a, 0x6f, 0xbb, 0xff}, {0x8e, 0x44, 0xad, 0xff}, {0xd6, 0x45, 0x50, 0xff},
	}
)

// band is one layer of the stacked throughput.
type band struct {
	key
	count func(*load.Interval) int64
}

// statusKeys returns a legend entry for each status code of the run, in the order of its Statuses.
func statusKeys(r *load.Result) []key {
	keys := make([]key, len(r.Statuses))
	seen := map[int]int{} // codes by class
	for i, s := range r.Statuses {
		class := s.Code / 100
		keys[i] = key{name: strconv.Itoa(s.Code), color: statusColor(s.Code, seen[class])}
		seen[class]++
	}
	return keys
}

func bands(r *load.Result) []band {
	var layers []band
	for i, k := range statusKeys(r) {
		code := r.Statuses[i].Code
		layers = append(layers, band{k, func(in *load.Interval) int64 { return in.Statuses[code] }})
	}
	if r.Failed > 0 {
		layers = append(layers, band{key{"errors", errorColor}, func(in *load.Interval) int64 { return in.Failures }})
	}
	return layers
}

func throughputPanel(r *load.Result) (panel, error) {
	p := newPlot("seconds", "requests per second")
	p.X.Max = max(r.Elapsed.Seconds(), 0.001)
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(plainTicks), plot.TickerFunc(plainTicks)
	result := panel{name: "Throughput by status", plot: p}

	base := make([]float64, len(r.Intervals)) // the top of the layers so far
	for _, layer := range bands(r) {
		var upper, lower plotter.XYs // an area of steps
		for i, in := range r.Intervals {
			begin, end := in.Start.Seconds(), (in.Start + in.Length).Seconds()
			top := base[i] + float64(layer.count(in))/max(in.Length.Seconds(), 1e-9)
			upper = append(upper, plotter.XY{X: begin, Y: top}, plotter.XY{X: end, Y: top})
			lower = append(lower, plotter.XY{X: begin, Y: base[i]}, plotter.XY{X: end, Y: base[i]})
			base[i] = top
		}
		for i := len(lower) - 1; i >= 0; i-- {
			upper = append(upper, lower[i])
		}
		area, err := plotter.NewPolygon(upper)
		if err != nil {
			return panel{}, err
		}
		area.Color, area.LineStyle.Width = layer.color, 0
		p.Add(area)
		result.keys = append(result.keys, layer.key)
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max = 1
	for _, top := range base {
		p.Y.Max = max(p.Y.Max, top*1.05)
	}
	return result, nil
}

func latencyPanel(r *load.Result) (panel, error) {
	p := newPlot("seconds", "latency")
	p.X.Tick.Marker = plot.TickerFunc(plainTicks)
	result := panel{name: "Latency over time", plot: p}
	lines := []struct {
		name string
		at   func(*hdrhistogram.Histogram) int64
	}{
		{"p50", func(h *hdrhistogram.Histogram) int64 { return h.ValueAtQuantile(50) }},
		{"p99", func(h *hdrhistogram.Histogram) int64 { return h.ValueAtQuantile(99) }},
		{"max", (*hdrhistogram.Histogram).Max},
	}
	for i, l := range lines {
		for _, steps := range latencySteps(r.Intervals, l.at) {
			if err := addLine(p, steps, lineColors[i]); err != nil {
				return panel{}, err
			}
		}
		result.keys = append(result.keys, key{l.name, lineColors[i]})
	}
	useLogLatency(p)
	p.X.Min, p.X.Max = 0, max(r.Elapsed.Seconds(), 0.001)
	return result, nil
}

// latencySteps returns the value of each interval as a step. The line is interrupted where there
// was no response.
func latencySteps(intervals []*load.Interval, at func(*hdrhistogram.Histogram) int64) []plotter.XYs {
	var lines []plotter.XYs
	interrupted := true
	for _, in := range intervals {
		if in.Latency.TotalCount() == 0 {
			interrupted = true
			continue
		}
		if interrupted {
			lines = append(lines, nil)
			interrupted = false
		}
		y := float64(at(in.Latency)) / 1e6
		last := &lines[len(lines)-1]
		*last = append(*last, plotter.XY{X: in.Start.Seconds(), Y: y}, plotter.XY{X: (in.Start + in.Length).Seconds(), Y: y})
	}
	return lines
}

// percentilePanel stretches the percentiles so that each further nine takes the same space: x is
// 1/(1-quantile).
func percentilePanel(r *load.Result) (panel, error) {
	p := newPlot("percentile of the responses", "latency")
	p.X.Scale = plot.LogScale{}
	result := panel{name: "Latency by percentile", plot: p}
	keys := statusKeys(r)
	for i, s := range r.Statuses {
		if err := addLine(p, percentileLine(s.Latency), keys[i].color); err != nil {
			return panel{}, err
		}
		result.keys = append(result.keys, keys[i])
	}
	if len(r.Statuses) > 1 {
		if err := addLine(p, percentileLine(r.Latency), ink); err != nil {
			return panel{}, err
		}
		result.keys = append(result.keys, key{"all", ink})
	}
	useLogLatency(p)
	p.X.Min, p.X.Max = 1, max(10, float64(r.Latency.TotalCount()))
	p.X.Tick.Marker = plot.TickerFunc(percentileTicks)
	return result, nil
}

func percentileLine(h *hdrhistogram.Histogram) plotter.XYs {
	const points = 400
	var line plotter.XYs
	end := math.Log10(max(10, float64(h.TotalCount())))
	for i := range points + 1 {
		x := math.Pow(10, end*float64(i)/points)
		y := float64(min(h.ValueAtQuantile(100*(1-1/x)), h.Max())) / 1e6
		line = append(line, plotter.XY{X: x, Y: y})
	}
	return line
}

func addLine(p *plot.Plot, points plotter.XYs, c color.Color) error {
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, vg.Points(1.8)
	p.Add(line)
	return nil
}
