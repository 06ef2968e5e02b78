package main

import (
	"cmp"
	"fmt"
	"image/color"
	"io"

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
	width, height = 760, 560
	top           = 58 // above the panels
	dotSize       = 4.5
	spread        = 0.15 // between the scenarios of a policy, whose places are 1 apart
)

var (
	ink    = color.RGBA{0x22, 0x2b, 0x36, 0xff}
	rule   = color.RGBA{0xe3, 0xe7, 0xec, 0xff}
	colors = []color.RGBA{ // of the scenarios
		{0x59, 0x63, 0x6e, 0xff}, {0xd2, 0x7a, 0x00, 0xff}, {0xcf, 0x22, 0x2e, 0xff}, {0x09, 0x69, 0xda, 0xff},
	}
)

var sans = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 12}

// most is the longest time in the picture: what failed or took longer is drawn there.
const most = 10_000.0 // ms

// drawPicture draws p99 and the errors of each policy in each scenario.
func drawPicture(w io.Writer, all []results) error {
	times, errs := newPlot("p99, ms"), newPlot("errors, %")
	times.Y.Scale, times.Y.Min, times.Y.Max = plot.LogScale{}, 30, most
	times.Y.Tick.Marker = plot.TickerFunc(timeTicks)
	errs.Y.Min, errs.Y.Max = 0, 12
	for i := range scenarios {
		var slow, failed, errors plotter.XYs
		for at, r := range all {
			o := typical(r.outcomes[i])
			x := float64(at) + spread*(float64(i)-float64(len(scenarios)-1)/2)
			if ms := o.p99.Seconds() * 1000; ms > most {
				failed = append(failed, plotter.XY{X: x, Y: most})
			} else {
				slow = append(slow, plotter.XY{X: x, Y: ms})
			}
			errors = append(errors, plotter.XY{X: x, Y: o.errors * 100})
		}
		if err := cmp.Or(
			addDots(times, slow, draw.CircleGlyph{}, colors[i]),
			addDots(times, failed, draw.CrossGlyph{}, colors[i]),
			addDots(errs, errors, draw.CircleGlyph{}, colors[i]),
		); err != nil {
			return err
		}
	}
	var names []string
	for _, r := range all {
		names = append(names, r.policy.String())
	}
	for _, p := range []*plot.Plot{times, errs} {
		p.NominalX(names...)
		p.X.Min, p.X.Max = -0.5, float64(len(all))-0.5
	}
	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	drawLegend(whole)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadX: 1, PadY: 16, PadTop: top, PadBottom: 8, PadLeft: 10, PadRight: 16}
	panels := [][]*plot.Plot{{times}, {errs}}
	for i, canvas := range plot.Align(panels, tiles, whole) {
		panels[i][0].Draw(canvas[0])
	}
	_, err := canvas.WriteTo(w)
	return err
}

// drawLegend draws the title, and the names of the scenarios below it.
func drawLegend(c draw.Canvas) {
	style := draw.TextStyle{Color: ink, Font: sans, Handler: plot.DefaultTextHandler, YAlign: text.YCenter}
	title := style
	title.Font.Size, title.Font.Weight = 13, xfont.WeightBold
	c.FillText(title, vg.Point{X: 16, Y: height - 18}, fmt.Sprintf("%d policies over %d backends: medians of %d seeds", len(policies), backends, seeds))
	at := vg.Point{X: 20, Y: height - 40}
	for i, s := range scenarios {
		c.DrawGlyph(draw.GlyphStyle{Color: colors[i], Radius: dotSize, Shape: draw.CircleGlyph{}}, at)
		c.FillText(style, at.Add(vg.Point{X: 10}), s.name)
		at.X += 40 + style.Width(s.name)
	}
}

func newPlot(y string) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = y
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = rule, color.Transparent
	p.Add(grid)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Color, axis.Tick.Label.Color = ink, ink
		axis.Label.TextStyle.Font = sans
		axis.Tick.Label.Font = axis.Label.TextStyle.Font
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = rule, rule
		axis.Padding = 0
	}
	return p
}

func addDots(p *plot.Plot, at plotter.XYs, shape draw.GlyphDrawer, c color.Color) error {
	if len(at) == 0 {
		return nil
	}
	dots, err := plotter.NewScatter(at)
	if err != nil {
		return err
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: c, Radius: dotSize, Shape: shape}
	p.Add(dots)
	return nil
}

// timeTicks are milliseconds on a logarithmic axis, the last of which stands for more.
func timeTicks(least, greatest float64) (ticks []plot.Tick) {
	for _, ms := range []float64{30, 100, 300, 1000, 3000, most} {
		if ms >= least && ms <= greatest {
			ticks = append(ticks, plot.Tick{Value: ms, Label: fmt.Sprint(ms)})
		}
	}
	ticks[len(ticks)-1].Label = "failed"
	return ticks
}
