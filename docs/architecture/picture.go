package main

import (
	"bytes"
	"fmt"
	"slices"
)

// The picture, in pixels.
const (
	margin    = 28
	top       = 76 // room for the words above
	rowHeight = 112
	boxHeight = 34
	lineWidth = 10 // that an arrow takes in a row that it passes
	gap       = 16 // between what stands in a row
)

// boxWidth returns the width of a package's box: the font is the reader's, so it has some to spare.
func boxWidth(name string) float64 { return float64(30 + 9*len(name)) }

// style has colours of its own for the background too: a page may be dark where the browser is not.
// Each importing package has one of the colours from c0 on, for itself and for its arrows.
const style = `<style>
  text { font: 14px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .faint { fill: #59636e }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .box { fill: #f6f8fa; stroke-width: 1.5 }
  .name { text-anchor: middle; font-weight: 600 }
  .arrow { fill: none; stroke-width: 2 }
  .implied { stroke-width: 1.2; stroke-dasharray: 5 3 }
  .head { fill: currentColor; stroke-width: 0 }
  .leaf { stroke: #818b98; color: #818b98 }
  .c0 { stroke: #1f2328; color: #1f2328 }
  .c1 { stroke: #0969da; color: #0969da }
  .c2 { stroke: #bc4c00; color: #bc4c00 }
  .c3 { stroke: #1a7f37; color: #1a7f37 }
  .c4 { stroke: #8250df; color: #8250df }
  .c5 { stroke: #cf222e; color: #cf222e }
  .c6 { stroke: #0f7f86; color: #0f7f86 }
  .c7 { stroke: #9a6700; color: #9a6700 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .faint { fill: #9198a1 }
    .paper { fill: #0d1117; stroke: #3d444d }
    .box { fill: #151b23 }
    .leaf { stroke: #656c76; color: #656c76 }
    .c0 { stroke: #f0f6fc; color: #f0f6fc }
    .c1 { stroke: #58a6ff; color: #58a6ff }
    .c2 { stroke: #f0883e; color: #f0883e }
    .c3 { stroke: #3fb950; color: #3fb950 }
    .c4 { stroke: #bc8cff; color: #bc8cff }
    .c5 { stroke: #ff7b72; color: #ff7b72 }
    .c6 { stroke: #39c5cf; color: #39c5cf }
    .c7 { stroke: #d29922; color: #d29922 }
  }
</style>
`

const colours = 8

// picture is an SVG under construction.
type picture struct {
	*layout
	text   bytes.Buffer
	colour map[string]int // of the packages that import another
}

func (p *picture) add(format string, values ...any) { fmt.Fprintf(&p.text, format+"\n", values...) }

// draw returns the picture of the imports.
func draw(all imports) []byte {
	p := &picture{layout: lay(all), colour: map[string]int{}}
	for _, row := range p.rows {
		for _, n := range row {
			if len(n.next) > 0 && n.name != "" {
				p.colour[n.name] = len(p.colour) % colours
			}
		}
	}
	p.frame()
	for _, implied := range []bool{true, false} { // the more important ones on top
		for _, a := range p.arrows {
			if a.implied == implied {
				p.arrow(a)
			}
		}
	}
	for _, row := range p.rows {
		for _, n := range row {
			p.box(n)
		}
	}
	p.text.WriteString("</svg>\n")
	return p.text.Bytes()
}

// frame draws the paper and the words above.
func (p *picture) frame() {
	width, height := 0.0, top+(len(p.rows)-1)*rowHeight+boxHeight+margin
	for _, row := range p.rows {
		last := row[len(row)-1]
		width = max(width, last.x+last.width/2+margin)
	}
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img">`, width, height)
	p.add(`<title>The packages of the balancer and their imports: every arrow points down</title>`)
	p.text.WriteString(style)
	p.add(`<rect class="paper" x="0.5" y="0.5" width="%.0f" height="%d" rx="6"/>`, width-1, height-1)
	p.add(`<text class="title" x="%d" y="32">An arrow is an import</text>`, margin)
	p.add(`<text class="faint" x="%d" y="54">dashed: the package below is needed through another import, too</text>`, margin)
}

// y returns where the top of a row's boxes is.
func y(row int) float64 { return float64(top + row*rowHeight) }

// arrow draws a line that leaves a box at its lower edge, passes each row upright, and ends at the
// upper edge of a box.
func (p *picture) arrow(a arrow) {
	from, to := a.path[0], a.path[len(a.path)-1]
	class := fmt.Sprintf("c%d", p.colour[from.name])
	x, at := p.port(from, a, true), y(from.row)+boxHeight
	line := fmt.Sprintf("M%.1f %.1f", x, at)
	for _, n := range a.path[1:] {
		next := n.x
		if n == to {
			next = p.port(to, a, false)
		}
		down := y(n.row)
		if n == to {
			down -= 8 // the head's length
		}
		bend := (down - at) * 0.5
		line += fmt.Sprintf("C%.1f %.1f %.1f %.1f %.1f %.1f", x, at+bend, next, down-bend, next, down)
		if x, at = next, down; n != to {
			at += boxHeight
			line += fmt.Sprintf("V%.1f", at)
		}
	}
	kind := "arrow"
	if a.implied {
		kind += " implied"
	}
	p.add(`<path class="%s %s" d="%s"/>`, kind, class, line)
	p.add(`<path class="%s head" d="M%.1f %.1fl-4.5 -9h9z"/>`, class, x, at+8)
}

// port returns where on the edge of a box an arrow leaves or arrives: the arrows stand in the order
// of where they come from or go to.
func (p *picture) port(n *node, a arrow, leaves bool) float64 {
	var xs []float64
	beside := func(a arrow) float64 {
		if leaves {
			return a.path[1].x
		}
		return a.path[len(a.path)-2].x
	}
	for _, other := range p.arrows {
		if leaves && other.path[0] == n || !leaves && other.path[len(other.path)-1] == n {
			xs = append(xs, beside(other))
		}
	}
	slices.Sort(xs)
	step := min(20, (n.width-20)/float64(len(xs)))
	return n.x + float64(step*(float64(slices.Index(xs, beside(a)))-float64(len(xs)-1)/2)) // see layout.place
}

// box draws a package.
func (p *picture) box(n *node) {
	if n.name == "" {
		return
	}
	class := "leaf"
	if c, imports := p.colour[n.name]; imports {
		class = fmt.Sprintf("c%d", c)
	}
	p.add(`<rect class="box %s" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="5"/>`, class, n.x-n.width/2, y(n.row), n.width, boxHeight)
	p.add(`<text class="name" x="%.1f" y="%.1f">%s</text>`, n.x, y(n.row)+22, n.name)
}
