package top

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// row is one of a list, on one line or more.
type row struct {
	id    string
	lines []string
}

// window returns so many lines of rows, those of the chosen one among them. The first line of each
// row has a mark at its left if it is chosen.
func window(rows []row, chosen string, hasFocus bool, width, height int) []string {
	var lines []string
	at := 0
	for _, r := range rows {
		for i, line := range r.lines {
			mark := "  "
			if i == 0 && r.id == chosen && hasFocus {
				mark, line, at = "> ", bold.on(line), len(lines)
			}
			lines = append(lines, mark+cut(line, width-2))
		}
	}
	start := max(0, min(at-height/2, len(lines)-height))
	return fit(lines[start:], width, height)
}

// title heads a list.
func (s *screen) title(which int, text, order string, width int) string {
	if s.lists[which].reversed {
		order += ", reversed"
	}
	last := "by " + order
	if s.entry.filter != "" {
		last = fmt.Sprintf("with %q, %s", clean(s.entry.filter), last)
	}
	line := ends(text, last, width)
	if s.focus == which {
		return marked.on(left(line, width))
	}
	return bold.on(line)
}

// backendLines are the title, the header, so many lines of backends, and a line of the chosen one.
func (s *screen) backendLines(width, height int) []string {
	up, all := 0, 0
	var notes []string
	for _, p := range s.news.doc.Pools {
		for i := range p.Backends {
			if all++; p.Backends[i].isUp() {
				up++
			}
		}
		if note := poolNote(&p); note != "" {
			notes = append(notes, clean(p.Pool)+" "+note)
		}
	}
	text := fmt.Sprintf("Backends: %d of %d up", up, all)
	if len(notes) > 0 {
		text += " · " + strings.Join(notes, ", ")
	}
	shown := s.backends()
	c := columnsFor(shown, len(s.news.doc.Pools) > 1, width)
	rows := make([]row, len(shown))
	for i, b := range shown {
		rows[i] = row{b.id(), s.backendLinesOf(b, c)}
	}
	lines := []string{s.title(backends, text, backendOrders[s.lists[backends].order].name, width), "  " + faint.on(c.header())}
	if len(rows) == 0 {
		rows = []row{{"", []string{"none"}}}
	}
	lines = append(lines, window(rows, s.lists[backends].chosen, s.focus == backends, width, height)...)
	return append(lines, s.detail(width))
}

// poolNote says what an operator has to know of a pool.
func poolNote(p *pool) string {
	switch {
	case !p.TakesRequests:
		return "takes no requests"
	case p.Panic:
		return "uses backends that are out"
	case p.Waiting > 0:
		return plural(p.Waiting, "request") + " waiting"
	}
	return ""
}

// columns are the widths of the two columns that differ by what is in them.
type columns struct {
	pools       bool // whether the pool's name stands before the address
	name, state int
}

// fixed is the width of the others, with the blanks between all.
const fixed = 2 + 8 + 7 + 10 + 6 + 6 + 2

func columnsFor(shown []*backend, pools bool, width int) columns {
	c := columns{pools: pools, name: len("BACKEND")}
	state := len("up, ramp 50%")
	for _, b := range shown {
		c.name = max(c.name, ansi.StringWidth(c.nameOf(b)))
		if !b.isUp() {
			state = len("down,ejected 7 days")
		}
	}
	c.name = max(len("BACKEND"), min(c.name, width-fixed-state))
	c.state = width - fixed - c.name
	return c
}

func (c columns) nameOf(b *backend) string {
	if c.pools {
		return clean(b.Pool + " " + b.Address)
	}
	return clean(b.Address)
}

func (c columns) header() string {
	return c.line("BACKEND", "REQ/S", "ERR/S", "IN FLIGHT", "SHARE", "DUE", "STATE")
}

func (c columns) line(name, requests, errors, inFlight, share, due, state string) string {
	return left(name, c.name) + right(requests, 8) + right(errors, 7) + right(inFlight, 10) + right(share, 6) + right(due, 6) + "  " + cut(state, c.state)
}

// backendLinesOf has why a backend is out on a second line.
func (s *screen) backendLinesOf(b *backend, c columns) []string {
	r, part := s.news.rates[b.place()], "–"
	if b.Share != nil {
		part = percent(*b.Share)
	}
	state, look := b.State, style("")
	if b.isUp() {
		state = upState(b)
	} else if look = bad; b.State == "draining" {
		look = warn
	}
	if !b.Since.IsZero() && !b.isUp() {
		state += " " + age(s.news.doc.Time.Sub(b.Since))
	}
	name := c.nameOf(b)
	if over := ansi.StringWidth(name) - c.name; over > 0 { // its end says more than its beginning
		name = ansi.TruncateLeft(name, over+1, "…")
	}
	lines := []string{c.line(name, short(r.requests), short(r.errors), grouped(b.InFlight), part, percent(b.DueShare), look.on(clean(state)))}
	if b.Why != "" {
		lines = append(lines, "  "+look.on(clean(b.Why)))
	}
	return lines
}

// upState says what is special about a backend that is up.
func upState(b *backend) string {
	switch {
	case b.Backup:
		return "up, backup"
	case b.Weight == 0:
		return "up, weight 0"
	case b.EffectiveWeight > 0 && b.EffectiveWeight < float64(b.Weight):
		return fmt.Sprintf("up, ramp %s", percent(b.EffectiveWeight/float64(b.Weight)))
	}
	return "up"
}

// detail is a line of the chosen backend.
func (s *screen) detail(width int) string {
	b := s.chosen()
	if b == nil {
		return ""
	}
	words := []string{clean(b.Address), plural(b.Requests, "request"), plural(b.Errors, "error")}
	if t := b.TimeToHeader; t != nil {
		words = append(words, "header p50 "+milliseconds(&t.P50)+" p99 "+milliseconds(&t.P99))
	}
	if b.LastError != "" {
		words = append(words, fmt.Sprintf("%s ago %s", age(s.news.doc.Time.Sub(b.LastErrorAt)), clean(b.LastError)))
	}
	return cut(strings.Join(words, " · "), width)
}

// clientRows are the rows of the limited clients.
func clientRows(s *screen) (rows []row) {
	for _, c := range s.limited() {
		kind := "unregistered"
		if c.Registered {
			kind = "registered"
		}
		if c.Shadow {
			kind += ", shadow: nothing was refused"
		}
		rows = append(rows, row{c.Client, []string{left(clean(c.Client), 32) + right(grouped(c.Rejections), 11) + "  " + kind}})
	}
	return rows
}

// clientLines are the title, the header and so many lines of limited clients.
func (s *screen) clientLines(rows []row, width, height int) []string {
	lines := []string{s.title(clients, "Limited in the last minute", clientOrders[s.lists[clients].order].name, width)}
	if len(rows) == 0 {
		return append(lines, "  none")
	}
	lines = append(lines, "  "+faint.on(left("CLIENT", 32)+right("REJECTIONS", 11)))
	return append(lines, window(rows, s.lists[clients].chosen, s.focus == clients, width, height)...)
}
