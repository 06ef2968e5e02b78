package report

import (
	"bufio"
	"fmt"
	"image/color"
	"io"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"loadbalancer/bench/load"
)

// The chart: 1500 by 1680 pixels. Lengths without a unit are points.
const (
	chartWidth  = 12.5 * vg.Inch
	chartHeight = 14 * vg.Inch
	chartDPI    = 120

	margin      = 28
	titleHeight = 74
	panelGap    = 26
	legendBand  = 30 // above each panel: its name and its legend
)

// maxCommand is how many characters of the command fit below the title.
const maxCommand = 118

var (
	ink   = color.RGBA{R: 0x22, G: 0x2b, B: 0x36, A: 0xff}
	faint = color.RGBA{R: 0x6b, G: 0x77, B: 0x85, A: 0xff}
	rule  = color.RGBA{R: 0xe3, G: 0xe7, B: 0xec, A: 0xff}
)

// key is one entry of a legend.
type key struct {
	name  string
	color color.Color
}

// panel is one part of the chart.
type panel struct {
	name string
	plot *plot.Plot
	keys []key
}

// Chart writes a PNG of the run: throughput over time by status, latency over time, and latency by
// percentile. command is shown below the title.
func Chart(w io.Writer, command string, r *load.Result) error {
	throughput, err := throughputPanel(r)
	if err != nil {
		return fmt.Errorf("draw the throughput: %w", err)
	}
	latency, err := latencyPanel(r)
	if err != nil {
		return fmt.Errorf("draw the latency: %w", err)
	}
	percentiles, err := percentilePanel(r)
	if err != nil {
		return fmt.Errorf("draw the percentiles: %w", err)
	}

	canvas := vgimg.NewWith(vgimg.UseWH(chartWidth, chartHeight), vgimg.UseDPI(chartDPI))
	whole := draw.New(canvas)
	drawTitle(whole, headline(r), command)
	drawPanels(draw.Crop(whole, margin, -margin, margin, -titleHeight), throughput, latency, percentiles)

	buffered := bufio.NewWriter(w)
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(buffered); err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	return nil
}

func headline(r *load.Result) string {
	s := Summarize(r)
	parts := []string{number(s.RequestsPerSecond) + " requests/s"}
	if l := s.LatencyMS; l != nil {
		parts = append(parts, "p50 "+milliseconds(l.P50), "p99 "+milliseconds(l.P99), "max "+milliseconds(l.Max))
	}
	if s.Errors > 0 {
		parts = append(parts, Count(s.Errors)+" errors")
	}
	return strings.Join(parts, "  ·  ")
}

func drawTitle(c draw.Canvas, title, command string) {
	if runes := []rune(command); len(runes) > maxCommand {
		command = string(runes[:maxCommand-1]) + "…"
	}
	x := c.Min.X + margin
	c.FillText(style(20, ink, true), vg.Point{X: x, Y: c.Max.Y - 40}, title)
	mono := style(11, faint, false)
	mono.Font.Variant = "Mono"
	c.FillText(mono, vg.Point{X: x, Y: c.Max.Y - 61}, command)
}

// drawPanels draws the panels below each other, with their plotting areas aligned.
func drawPanels(c draw.Canvas, panels ...panel) {
	plots := make([][]*plot.Plot, len(panels))
	for i, p := range panels {
		plots[i] = []*plot.Plot{p.plot}
	}
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: panelGap + legendBand, PadTop: legendBand + 6}
	for i, row := range plot.Align(plots, tiles, c) {
		panels[i].plot.Draw(row[0])
		drawLegend(panels[i].plot.DataCanvas(row[0]), panels[i])
	}
}

// drawLegend writes the panel's name above the left end of its plotting area c, and its keys above
// the right end.
func drawLegend(c draw.Canvas, p panel) {
	y := c.Max.Y + 12
	c.FillText(style(14, ink, true), vg.Point{X: c.Min.X, Y: y}, p.name)
	label := style(12, ink, false)
	x := c.Max.X
	for i := len(p.keys) - 1; i >= 0; i-- {
		x -= label.Width(p.keys[i].name)
		c.FillText(label, vg.Point{X: x, Y: y}, p.keys[i].name)
		const square = 10
		x -= square + 6
		c.FillPolygon(p.keys[i].color, []vg.Point{
			{X: x, Y: y}, {X: x + square, Y: y}, {X: x + square, Y: y + square}, {X: x, Y: y + square},
		})
		x -= 18
	}
}

func style(size vg.Length, c color.Color, bold bool) text.Style {
	f := font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler, YAlign: draw.YBottom}
}

// statusColor gives each class of status codes its own color, and each code of a class its own
// shade: nth counts within the class.
func statusColor(code, nth int) color.Color {
	shades := map[int][]color.RGBA{
		2: {{0x2a, 0x9d, 0x8f, 0xff}, {0x7c, 0xc9, 0xbe, 0xff}},
		3: {{0x4a, 0x7f, 0xc1, 0xff}, {0x9b, 0xbd, 0xe3, 0xff}},
		4: {{0xf0, 0xa0, 0x3c, 0xff}, {0xf7, 0xcf, 0x72, 0xff}, {0xb8, 0x6b, 0x1e, 0xff}},
		5: {{0xd6, 0x45, 0x50, 0xff}, {0xee, 0x8f, 0x92, 0xff}, {0x9c, 0x23, 0x3b, 0xff}},
	}[code/100]
	if len(shades) == 0 {
		return faint
	}
	return shades[nth%len(shades)]
}
