package main

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"slices"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The picture, in points.
const (
	width, height = 860, 640
	top           = 84 // above the panels
	dotSize       = 3.5
)

var (
	ink    = color.RGBA{0x22, 0x2b, 0x36, 0xff}
	rule   = color.RGBA{0xe3, 0xe7, 0xec, 0xff}
	colors = map[int]color.RGBA{ // of the capacities
		40: {0xcf, 0x22, 0x2e, 0xff}, 100: {0x09, 0x69, 0xda, 0xff},
		1000: {0xd2, 0x7a, 0x00, 0xff}, 10_000: {0x59, 0x63, 0x6e, 0xff},
	}
	capacities = []int{100, 1000, 10_000}
)

var sans = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 11}

// of returns the runs that are like this, in the order of their numbers of instances and loads.
func of(all []run, like func(*run) bool) (some []run) {
	for _, r := range all {
		if like(&r) {
			some = append(some, r)
		}
	}
	slices.SortStableFunc(some, func(a, b run) int {
		return cmp.Or(cmp.Compare(a.Instances, b.Instances), cmp.Compare(a.Load, b.Load))
	})
	return some
}

// bound returns how far a limit may be passed, in percent of the capacity.
func bound(capacity int) (all plotter.XYs) {
	for n := 1; n <= 1000; n++ {
		if n < 100 || n%5 == 0 || n-1 == capacity/8 {
			all = append(all, plotter.XY{X: float64(n), Y: 100 / float64(capacity) * float64(n*(capacity/(8*n)))})
		}
	}
	return all
}

// points returns a point for each run. Of several with the same x the highest counts.
func points(runs []run, x, y func(*run) float64) (all plotter.XYs) {
	for _, r := range runs {
		p := plotter.XY{X: x(&r), Y: y(&r)}
		if last := len(all) - 1; last >= 0 && all[last].X == p.X {
			all[last].Y = max(all[last].Y, p.Y)
		} else {
			all = append(all, p)
		}
	}
	return all
}

func instances(r *run) float64 { return float64(r.Instances) }
func load(r *run) float64      { return r.Load }
func tellings(r *run) float64  { return r.Tellings }

// drawPicture draws four panels.
func drawPicture(w io.Writer, all []run) error {
	over, waits, costs, loads := overPanel(), waitsPanel(), costsPanel(), loadsPanel()
	for _, capacity := range capacities {
		ofAll := of(all, func(r *run) bool { return r.Capacity == capacity })
		apart := of(ofAll, func(r *run) bool { return r.Burst == 1 && r.Load == 0.5 })
		bursts := of(ofAll, func(r *run) bool { return r.Burst > 1 })
		percent := 100 / float64(capacity)
		if err := cmp.Or(
			addLine(over, bound(capacity), colors[capacity]),
			addDots(over, points(ofAll, instances, func(r *run) float64 { return r.Over * percent }), draw.TriangleGlyph{}, colors[capacity]),
			addDots(waits, points(apart, instances, func(r *run) float64 { return r.Waited * 100 }), draw.CircleGlyph{}, colors[capacity]),
			addDots(waits, points(bursts, instances, func(r *run) float64 { return r.Waited * 100 }), draw.CrossGlyph{}, colors[capacity]),
			addDots(costs, points(apart, instances, tellings), draw.CircleGlyph{}, colors[capacity]),
			addDots(costs, points(bursts, instances, tellings), draw.CrossGlyph{}, colors[capacity]),
		); err != nil {
			return err
		}
	}
	for _, capacity := range []int{40, 100} {
		rising := of(all, func(r *run) bool {
			return r.Capacity == capacity && r.Instances == 10 && r.Burst == 1 && r.Load != 3
		})
		if err := addDots(loads, points(rising, load, tellings), draw.CircleGlyph{}, colors[capacity]); err != nil {
			return err
		}
	}
	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	drawLegend(whole)
	tiles := draw.Tiles{Rows: 2, Cols: 2, PadX: 22, PadY: 22, PadTop: top, PadBottom: 8, PadLeft: 10, PadRight: 16}
	panels := [][]*plot.Plot{{over, waits}, {costs, loads}}
	for i, row := range plot.Align(panels, tiles, whole) {
		for j, canvas := range row {
			panels[i][j].Draw(canvas)
		}
	}
	_, err := canvas.WriteTo(w)
	return err
}

func overPanel() *plot.Plot {
	p := newPlot("above the limit in the worst window, % of capacity", "instances", 1, 1000)
	p.Y.Min, p.Y.Max = 0, 14
	return p
}

func waitsPanel() *plot.Plot {
	p := newPlot("of the admitted, % that waited a round trip", "instances", 1, 1000)
	p.Y.Min, p.Y.Max = 0, 102
	return p
}

func costsPanel() *plot.Plot {
	p := newPlot("tellings for each admitted request", "instances", 1, 1000)
	p.Y.Scale, p.Y.Min, p.Y.Max = plot.LogScale{}, 0.001, 10
	p.Y.Tick.Marker = ticksAt(0.001, 0.01, 0.1, 1, 10)
	return p
}

func loadsPanel() *plot.Plot {
	p := newPlot("the same, by load, over 10 instances", "requests, in multiples of the rate", 0.5, 128)
	p.Y.Min, p.Y.Max = 0, 12
	p.X.Tick.Marker = ticksAt(0.5, 1, 2, 4, 8, 16, 32, 64, 128)
	return p
}

// drawLegend draws the title, and what the colours and shapes stand for.
func drawLegend(c draw.Canvas) {
	style := draw.TextStyle{Color: ink, Font: sans, Handler: plot.DefaultTextHandler, YAlign: text.YCenter}
	title := style
	title.Font.Size, title.Font.Weight = 13, xfont.WeightBold
	c.FillText(title, vg.Point{X: 16, Y: height - 18}, "One limit over 1 to 1,000 instances")
	at := vg.Point{X: 20, Y: height - 42}
	entry := func(shape draw.GlyphDrawer, col color.Color, words string) {
		c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: dotSize, Shape: shape}, at)
		c.FillText(style, at.Add(vg.Point{X: 9}), words)
		at.X += 44 + style.Width(words)
	}
	for _, capacity := range []int{40, 100, 1000, 10_000} {
		entry(draw.CircleGlyph{}, colors[capacity], fmt.Sprint("capacity ", capacity))
	}
	at = vg.Point{X: 20, Y: height - 62}
	entry(draw.CircleGlyph{}, ink, "evenly, at half of the rate")
	entry(draw.CrossGlyph{}, ink, "in bursts of twice the capacity")
	entry(draw.TriangleGlyph{}, ink, "the worst of all runs")
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1}, at.X-12, at.Y, at.X+6, at.Y)
	c.FillText(style, at.Add(vg.Point{X: 11}), "its bound")
}

// newPlot returns a panel with a logarithmic axis below it.
func newPlot(y, x string, least, most float64) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = y, x
	p.Title.TextStyle.Font, p.Title.TextStyle.Color, p.Title.Padding = sans, ink, 6
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = rule, color.Transparent
	p.Add(grid)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Color, axis.Tick.Label.Color = ink, ink
		axis.Label.TextStyle.Font, axis.Tick.Label.Font = sans, sans
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = rule, rule
		axis.Padding = 0
	}
	p.X.Scale, p.X.Min, p.X.Max = plot.LogScale{}, least*0.9, most*1.1
	p.X.Tick.Marker = ticksAt(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
	return p
}

func addDots(p *plot.Plot, at plotter.XYs, shape draw.GlyphDrawer, c color.Color) error {
	dots, err := plotter.NewScatter(at)
	if err != nil {
		return err
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: c, Radius: dotSize, Shape: shape}
	p.Add(dots)
	return nil
}

func addLine(p *plot.Plot, at plotter.XYs, c color.Color) error {
	line, err := plotter.NewLine(at)
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: c, Width: 1}
	p.Add(line)
	return nil
}

// ticksAt returns ticks at these values, as far as they are on the axis.
func ticksAt(values ...float64) plot.Ticker {
	return plot.TickerFunc(func(least, most float64) (ticks []plot.Tick) {
		for _, v := range values {
			if v >= least && v <= most {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprint(v)})
			}
		}
		return ticks
	})
}
