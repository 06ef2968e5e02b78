package top

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// rows are those of a list. Only those that are seen are drawn.
type rows struct {
	n      int
	chosen int                  // < 0: none
	draw   func(i int) []string // a row, on one line or more
}

// window returns so many lines of rows, those of the chosen one among them, in the middle where
// there is enough on both sides. The first line of the chosen one has a mark at its left.
func (r rows) window(hasFocus bool, width, height int) []string {
	at := max(0, r.chosen)
	var above, below []string
	for i := at - 1; i >= 0 && len(above) < height; i-- {
		above = append(r.lines(i, hasFocus, width), above...)
	}
	for i := at; i < r.n && len(below) < height; i++ {
		below = append(below, r.lines(i, hasFocus, width)...)
	}
	lines := append(above, below...)
	start := max(0, min(len(above)-height/2, len(lines)-height))
	return fit(lines[start:], width, height)
}

// lines draws a row, with room for the mark at its left.
func (r rows) lines(i int, hasFocus bool, width int) []string {
	lines := r.draw(i)
	for j, line := range lines {
		mark := "  "
		if j == 0 && i == r.chosen && hasFocus {
			mark, line = "> ", bold.on(line)
		}
		lines[j] = mark + cut(line, width-2)
	}
	return lines
}

// none is in place of the rows where there are none.
func (l *list) none() []string {
	if l.filter != "" {
		return []string{"  none contains this text; Esc shows all"}
	}
	return []string{"  none"}
}

// title heads a list.
func (s *screen) title(which int, text, order string, width int) string {
	l := &s.lists[which]
	if l.reversed {
		order += ", reversed"
	}
	last := "by " + order
	if l.filter != "" {
		last = fmt.Sprintf("with %q, %s", clean(l.filter), last)
	}
	line := ends(text, last, width)
	if s.focus == which {
		return marked.on(left(line, width))
	}
	return bold.on(line)
}

// summary says how many backends are up, and what is to be known of pools.
func (s *screen) summary() string {
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
	return text
}

// backendLines are the title, the header, so many lines of backends, and a line of the chosen one.
func (s *screen) backendLines(width, height int) []string {
	l, shown := &s.lists[backends], s.backends()
	c := columnsFor(shown, len(s.news.doc.Pools) > 1, width)
	lines := []string{s.title(backends, s.summary(), backendOrders[l.order].name, width), "  " + faint.on(c.header())}
	if len(shown) == 0 {
		return append(lines, fit(l.none(), width, height+1)...)
	}
	all := rows{
		n:      len(shown),
		chosen: slices.IndexFunc(shown, func(b *backend) bool { return b.place() == l.chosen }),
	}
	all.draw = func(i int) []string { return s.backendLinesOf(shown[i], c, i == all.chosen) }
	lines = append(lines, all.window(s.focus == backends, width, height)...)
	return append(lines, s.detail(c, width))
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

// columns are those that differ by the width of the screen and by what is in them.
type columns struct {
	pools       bool // whether the pool's name stands before the address
	narrow      bool // whether there is no room for requests in flight and shares
	name, state int  // widths
	width       int  // of the screen
}

// narrow is the width in columns below which figures that matter less are left out.
const narrow = 72

// The widths of the other columns with the blanks between all, where the screen is narrow and else.
const (
	fixedFew = 2 + 8 + 7 + 2
	fixedAll = fixedFew + 10 + 6 + 6
)

func columnsFor(shown []*backend, pools bool, width int) columns {
	c := columns{pools: pools, narrow: width < narrow, name: len("BACKEND"), width: width}
	room := width - fixedAll
	if c.narrow {
		room = width - fixedFew
	}
	state := len("up, ramp 50%")
	for _, b := range shown {
		c.name = max(c.name, c.widthOf(b))
		if !b.isUp() {
			state = len("down,ejected 7 days")
		}
	}
	c.name = min(c.name, room-min(state, room/2))
	c.state = room - c.name
	return c
}

func (c columns) nameOf(b *backend) string {
	if c.pools {
		return clean(b.Pool + " " + b.Address)
	}
	return clean(b.Address)
}

// widthOf is how many columns nameOf takes.
func (c columns) widthOf(b *backend) int {
	n := columnsOf(b.Address)
	if c.pools {
		n += columnsOf(b.Pool) + 1
	}
	return n
}

func (c columns) header() string {
	return c.line("BACKEND", "REQ/S", "ERR/S", "IN FLIGHT", "SHARE", "DUE", "STATE")
}

func (c columns) line(name, requests, errors, inFlight, share, due, state string) string {
	line := left(name, c.name) + right(requests, 8) + right(errors, 7)
	if !c.narrow {
		line += right(inFlight, 10) + right(share, 6) + right(due, 6)
	}
	return line + "  " + cut(state, c.state)
}

// backendLinesOf has why a backend is out on a second line, and on a third if it is the chosen one.
func (s *screen) backendLinesOf(b *backend, c columns, isChosen bool) []string {
	r, part := b.rate, "–"
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
	if b.Why == "" {
		return lines
	}
	if why := clean(b.Why); !isChosen {
		lines = append(lines, "  "+look.on(why))
	} else {
		for _, line := range look.over(why, c.width-4) {
			lines = append(lines, "  "+line)
		}
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
func (s *screen) detail(c columns, width int) string {
	b := s.chosen()
	if b == nil {
		return ""
	}
	words := []string{c.nameOf(b), plural(b.Requests, "request"), plural(b.Errors, "error")}
	if t := b.TimeToHeader; t != nil {
		words = append(words, "header p50 "+milliseconds(&t.P50)+" p99 "+milliseconds(&t.P99))
	}
	if b.LastError != "" {
		words = append(words, fmt.Sprintf("%s ago %s", age(s.news.doc.Time.Sub(b.LastErrorAt)), clean(b.LastError)))
	}
	return cut(strings.Join(words, " · "), width)
}

// clientColumn is how many characters the names of clients have in a line of width characters.
func clientColumn(width int) int { return min(40, max(16, width-52)) }

// line is the row of a client.
func (c *limited) line(width int) string {
	limit := "default"
	if c.Registered {
		limit = "own"
	}
	if c.Shadow {
		limit += ", shadow"
	}
	return left(clean(c.Client), clientColumn(width)) + right(grouped(c.Rejections), 11) +
		right(short(float64(c.Capacity)), 11) + right(limitRate(c.RatePerSecond), 10) + "  " + limit
}

// clientLines are the title, the header and so many lines of limited clients.
func (s *screen) clientLines(shown []*limited, width, height int) []string {
	l := &s.lists[clients]
	lines := []string{s.title(clients, "Limited in the last minute", clientOrders[l.order].name, width)}
	if len(shown) == 0 {
		return append(lines, l.none()...)
	}
	all := rows{
		n:      len(shown),
		chosen: slices.IndexFunc(shown, func(c *limited) bool { return c.place() == l.chosen }),
		draw:   func(i int) []string { return []string{shown[i].line(width)} },
	}
	lines = append(lines, "  "+faint.on(left("CLIENT", clientColumn(width))+right("REJECTIONS", 11)+right("CAPACITY", 11)+right("RATE/S", 10)+"  LIMIT"))
	return append(lines, all.window(s.focus == clients, width, height)...)
}
