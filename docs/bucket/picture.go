package main

import (
	"fmt"
	"strings"
	"time"

	"loadbalancer/limiter"
)

// The picture, in pixels and seconds.
const (
	width, height            = 960, 420
	left, right, top, bottom = 64, 20, 84, 58
	span                     = 17 // seconds from edge to edge
)

// style has colours of its own for the background too: a page may be dark where the browser is not.
const style = `<style>
  text { font: 14px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .faint { fill: #59636e }
  .note { stroke: #ffffff; stroke-width: 5; stroke-linejoin: round; paint-order: stroke }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .level { fill: none; stroke: #59636e; stroke-width: 1.5; stroke-linejoin: round }
  .held { fill: #818b98; fill-opacity: .16 }
  .admitted { fill: #0969da }
  .rejected { fill: none; stroke: #cf222e; stroke-width: 2 }
  .wait { stroke: #cf222e; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .faint { fill: #9198a1 }
    .note { stroke: #0d1117 }
    .paper { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #3d444d }
    .level { stroke: #9198a1 }
    .admitted { fill: #58a6ff }
    .rejected, .wait { stroke: #ff7b72 }
  }
</style>
`

// picture is an SVG under construction.
type picture struct {
	limit limiter.Limit
	text  strings.Builder
}

func (p *picture) add(format string, values ...any) {
	fmt.Fprintf(&p.text, format+"\n", values...)
}

// x returns where a moment is.
func (p *picture) x(t time.Duration) float64 {
	return left + t.Seconds()/span*(width-left-right)
}

// y returns where so many tokens are.
func (p *picture) y(tokens float64) float64 {
	return height - bottom - tokens/float64(p.limit.Capacity)*(height-top-bottom)
}

// frame draws the paper, the axes and the words around them.
func (p *picture) frame(requests []request) {
	admitted := 0
	for _, r := range requests {
		if r.decision.Allowed {
			admitted++
		}
	}
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`, width, height)
	p.add(`<title>The tokens in a bucket of capacity %d and %g per second while %d requests come, of which %d are admitted</title>`,
		p.limit.Capacity, p.limit.RatePerSecond, len(requests), admitted)
	p.text.WriteString(style)
	p.add(`<rect class="paper" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`, width-1, height-1)
	p.add(`<text class="title" x="%d" y="30">capacity %d, rate_per_second %g</text>`, left, p.limit.Capacity, p.limit.RatePerSecond)
	p.dot(left+5, 51)
	p.add(`<text x="%d" y="56">%d admitted</text>`, left+16, admitted)
	p.cross(left+125, 51)
	p.add(`<text x="%d" y="56">%d rejected</text>`, left+136, len(requests)-admitted)

	for n := range p.limit.Capacity + 1 {
		y := p.y(float64(n))
		p.add(`<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, left, y, width-right, y)
		p.add(`<text class="faint" x="%d" y="%.1f" text-anchor="end">%d</text>`, left-9, y+5, n)
	}
	for s := 0; s <= span; s++ {
		p.add(`<text class="faint" x="%.1f" y="%d" text-anchor="middle">%d</text>`, p.x(time.Duration(s)*time.Second), height-bottom+20, s)
	}
	middle := p.y(float64(p.limit.Capacity) / 2)
	p.add(`<text x="24" y="%.1f" text-anchor="middle" transform="rotate(-90 24 %.1f)">tokens in the bucket</text>`, middle, middle)
	p.add(`<text x="%.1f" y="%d" text-anchor="middle">seconds</text>`, p.x(span*time.Second/2), height-bottom+44)
}

// level draws what the bucket holds: it rises with the rate up to the capacity, and falls by a
// token with each request that is admitted.
func (p *picture) level(requests []request) {
	var line strings.Builder
	to := func(t time.Duration, tokens float64) { fmt.Fprintf(&line, " %.2f,%.2f", p.x(t), p.y(tokens)) }
	full := float64(p.limit.Capacity)
	at, held := time.Duration(0), full
	to(at, held)
	rise := func(until time.Duration) {
		lacking := time.Duration((full - held) / p.limit.RatePerSecond * float64(time.Second))
		if held < full && at+lacking < until {
			to(at+lacking, full)
		}
		held = min(full, held+(until-at).Seconds()*p.limit.RatePerSecond)
		at = until
		to(at, held)
	}
	for _, r := range requests {
		rise(r.at)
		held = r.tokens(p.limit)
		to(at, held)
	}
	rise(span * time.Second)
	points := line.String()[1:]
	p.add(`<polygon class="held" points="%s %.2f,%.2f %.2f,%.2f"/>`, points, p.x(at), p.y(0), p.x(0), p.y(0))
	p.add(`<polyline class="level" points="%s"/>`, points)
}

// retry draws the wait that the first rejection is told.
func (p *picture) retry(requests []request) {
	r, ok := firstRejection(requests)
	if !ok {
		return
	}
	wait := r.decision.RetryAfter
	until, y := p.x(r.at+wait), p.y(float64(p.limit.Capacity)*0.93)
	p.add(`<line class="wait" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, until, p.y(0), until, y)
	p.add(`<text class="note" x="%.1f" y="%.1f">The first rejection is told to wait for %g s:</text>`,
		until+8, y+12, wait.Round(time.Millisecond).Seconds())
	p.add(`<text class="note" x="%.1f" y="%.1f">a request at %g s is admitted.</text>`,
		until+8, y+31, (r.at + wait).Round(time.Millisecond).Seconds())
}

// marks draws the requests, each at what the bucket holds after it.
func (p *picture) marks(requests []request) {
	for _, r := range requests {
		x, y := p.x(r.at), p.y(r.tokens(p.limit))
		if r.decision.Allowed {
			p.dot(x, y)
		} else {
			p.cross(x, y)
		}
	}
}

func (p *picture) dot(x, y float64) {
	p.add(`<circle class="admitted" cx="%.1f" cy="%.1f" r="4"/>`, x, y)
}

func (p *picture) cross(x, y float64) {
	p.add(`<path class="rejected" d="M%.1f %.1fl7 7m0 -7l-7 7"/>`, x-3.5, y-3.5)
}
