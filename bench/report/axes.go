package report

import (
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// newPlot returns an empty plot in the chart's style.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font = style(12, faint, false).Font
		axis.Label.TextStyle.Color = faint
		axis.Label.Padding = vg.Points(6)
		axis.Tick.Label.Font = style(12, ink, false).Font
		axis.Tick.Label.Color = ink
		axis.Tick.LineStyle.Color = faint
		axis.LineStyle.Color = faint
		axis.Padding = 0
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = rule, rule
	grid.Horizontal.Width, grid.Vertical.Width = vg.Points(0.8), vg.Points(0.8)
	p.Add(grid)
	p.Y.Label.Position = draw.PosCenter
	return p
}

// useLogLatency gives the plot a logarithmic y axis in seconds that fits the data added so far.
func useLogLatency(p *plot.Plot) {
	if !(p.Y.Min <= p.Y.Max) { // nothing was added
		p.Y.Min, p.Y.Max = 1e-3, 1e-1
	}
	low, high := max(p.Y.Min, 1e-6), max(p.Y.Max, 1e-6)
	p.Y.Min, p.Y.Max = below(low), above(high)
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.TickerFunc(latencyTicks)
}

// below returns the largest of 1, 2, 5, 10, 20, 50 … that is less than x.
func below(x float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{5, 2, 1} {
		if m*decade < x*0.999 {
			return m * decade
		}
	}
	return decade / 2
}

// above returns the smallest of 1, 2, 5, 10, 20, 50 … that is more than x.
func above(x float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*decade > x*1.001 {
			return m * decade
		}
	}
	return 10 * decade
}

// latencyTicks marks 1, 2 and 5 of each decade. It labels only the decades if there are many.
func latencyTicks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	few := high/low < 2000
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high*1.001; decade *= 10 {
		for _, m := range []float64{1, 2, 5} {
			value := m * decade
			if value < low*0.999 || value > high*1.001 {
				continue
			}
			tick := plot.Tick{Value: value}
			if m == 1 || few {
				tick.Label = latencyLabel(value)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

func latencyLabel(seconds float64) string {
	switch {
	case seconds < 0.999e-3:
		return strconv.FormatFloat(seconds*1e6, 'g', 3, 64) + " µs"
	case seconds < 0.999:
		return strconv.FormatFloat(seconds*1e3, 'g', 3, 64) + " ms"
	}
	return strconv.FormatFloat(seconds, 'f', -1, 64) + " s"
}

// percentileTicks marks 0 %, 50 %, 90 %, 99 %, 99.9 % … where x is 1/(1-quantile).
func percentileTicks(_, high float64) []plot.Tick {
	ticks := []plot.Tick{{Value: 1, Label: "0 %"}, {Value: 2, Label: "50 %"}, {Value: 4, Label: "75 %"}, {Value: 10, Label: "90 %"}}
	label := "99"
	for x := 100.0; x <= high*1.001; x *= 10 {
		ticks = append(ticks, plot.Tick{Value: x, Label: label + " %"})
		if !strings.Contains(label, ".") {
			label += "."
		}
		label += "9"
	}
	return ticks
}

// plainTicks marks about six round values, with commas between thousands.
func plainTicks(low, high float64) []plot.Tick {
	rough := (high - low) / 6
	if !(rough > 0) || math.IsInf(rough, 0) {
		return nil
	}
	decade := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * decade
	for _, m := range []float64{1, 2, 5} {
		if m*decade >= rough {
			step = m * decade
			break
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high*1.0001; i++ {
		value := i * step
		label := Count(int64(math.Round(value)))
		if step < 1 {
			label = strconv.FormatFloat(value, 'f', max(0, int(math.Ceil(-math.Log10(step)))), 64)
		}
		ticks = append(ticks, plot.Tick{Value: value, Label: label})
	}
	return ticks
}
