package main

import (
	"fmt"
	"math"
	"strings"
)

// The picture, in pixels.
const (
	width, height            = 960, 420
	left, right, top, bottom = 64, 20, 100, 58
	most                     = 0.6 // the share at the upper edge
)

// style has colours of its own for the background too: a page may be dark where the browser is not.
const style = `<style>
  text { font: 14px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .faint { fill: #59636e }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .share { fill: none; stroke: #818b98; stroke-width: 1.5; stroke-linejoin: round }
  .first { stroke: #0969da; stroke-width: 2.5 }
  .event { stroke: #cf222e; stroke-dasharray: 4 3 }
  .out { fill: #cf222e; fill-opacity: .08 }
  .ramp { fill: #0969da; fill-opacity: .07 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .faint { fill: #9198a1 }
    .paper { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #3d444d }
    .share { stroke: #9198a1 }
    .first { stroke: #58a6ff }
    .event { stroke: #ff7b72 }
  }
</style>
`

// labels are what the picture says of an event, and at which height.
var labels = map[string]struct {
	text string
	line int
}{
	"fails":   {"answers 500", 0},
	"ejected": {"is ejected", 1},
	"works":   {"works again", 2},
	"back":    {"is back, on a ramp", 0},
	"whole":   {"has its whole share", 0},
}

// picture is an SVG under construction.
type picture struct {
	run  *run
	text strings.Builder
}

func (p *picture) add(format string, values ...any) {
	fmt.Fprintf(&p.text, format+"\n", values...)
}

// span returns the seconds from edge to edge.
func (p *picture) span() float64 { return p.run.Counts[len(p.run.Counts)-1].At }

// x returns where a moment is, in seconds.
func (p *picture) x(at float64) float64 { return left + at/p.span()*(width-left-right) }

// y returns where a share is.
func (p *picture) y(share float64) float64 {
	return height - bottom - share/most*(height-top-bottom)
}

// frame draws the paper, the axes and the words around them.
func (p *picture) frame() {
	backends := len(p.run.Counts[0].Requests)
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`, width, height)
	p.add(`<title>The shares of requests of %d backends, of which the first fails, is ejected and comes back</title>`, backends)
	p.text.WriteString(style)
	p.add(`<rect class="paper" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`, width-1, height-1)
	p.add(`<text class="title" x="%d" y="30">One of %d backends fails, at %d requests a second</text>`, left, backends, p.run.Rate)
	for percent := 0; percent <= most*100; percent += 10 {
		y := p.y(float64(percent) / 100)
		p.add(`<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, left, y, width-right, y)
		p.add(`<text class="faint" x="%d" y="%.1f" text-anchor="end">%d %%</text>`, left-9, y+5, percent)
	}
	for s := 0; float64(s) <= p.span(); s += 2 {
		p.add(`<text class="faint" x="%.1f" y="%d" text-anchor="middle">%d</text>`, p.x(float64(s)), height-bottom+20, s)
	}
	middle := p.y(most / 2)
	p.add(`<text x="18" y="%.1f" text-anchor="middle" transform="rotate(-90 18 %.1f)">share of requests</text>`, middle, middle)
	p.add(`<text x="%.1f" y="%d" text-anchor="middle">seconds</text>`, p.x(p.span()/2), height-bottom+44)
}

// events draws what happened to the first backend, and how long it was out and on its ramp.
func (p *picture) events() {
	at := map[string]float64{}
	for _, e := range p.run.Events {
		at[e.What] = e.At
	}
	p.band("out", at["ejected"], at["back"])
	p.band("ramp", at["back"], at["whole"])
	for _, e := range p.run.Events {
		label := labels[e.What]
		x, y := p.x(e.At), float64(54+18*label.line)
		p.add(`<line class="event" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, x, y+4, x, p.y(0))
		p.add(`<text x="%.1f" y="%.1f">%s</text>`, x+5, y+6, label.text)
	}
}

// band fills the time between two moments.
func (p *picture) band(class string, from, to float64) {
	p.add(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, p.x(from), p.y(most), p.x(to)-p.x(from), p.y(0)-p.y(most))
}

// shares draws a backend's share of the requests.
func (p *picture) shares(backend int) {
	var points []string
	for _, c := range p.run.Counts {
		points = append(points, fmt.Sprintf("%.1f,%.1f", p.x(c.At), p.y(math.Min(most, c.share(backend)))))
	}
	class := "share"
	if backend == 0 {
		class += " first"
	}
	p.add(`<polyline class="%s" points="%s"/>`, class, strings.Join(points, " "))
}
