package main

import (
	"cmp"
	"maps"
	"slices"
)

// node is a package or, without a name, the place in a row where an arrow passes through it.
type node struct {
	name        string
	row         int
	x, width    float64 // its middle
	above, next []*node // those it is linked with in the row above and in the row below
}

// arrow is an import: the nodes from the importing package to the imported one, a row each.
type arrow struct {
	path    []*node
	implied bool // see imports.implied
}

// layout is the places of packages and arrows. A package is in the row below the lowest of those
// that import it, so that every arrow points down.
type layout struct {
	rows   [][]*node
	arrows []arrow
}

// lay lays out the imports, which have no loop.
func lay(all imports) *layout {
	l := &layout{}
	nodes := map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		nodes[name] = &node{name: name, row: all.depth(name), width: boxWidth(name)}
		l.put(nodes[name])
	}
	for _, from := range slices.Sorted(maps.Keys(all)) {
		for _, to := range all[from] {
			l.link(nodes[from], nodes[to], all.implied(from, to))
		}
	}
	l.order()
	l.place()
	return l
}

// depth is the length of the longest way to a package.
func (all imports) depth(name string) (deepest int) {
	for from, to := range all {
		if slices.Contains(to, name) {
			deepest = max(deepest, all.depth(from)+1)
		}
	}
	return deepest
}

func (l *layout) put(n *node) {
	for len(l.rows) <= n.row {
		l.rows = append(l.rows, nil)
	}
	l.rows[n.row] = append(l.rows[n.row], n)
}

// link adds an arrow, with a node in each row that it passes.
func (l *layout) link(from, to *node, implied bool) {
	a := arrow{[]*node{from}, implied}
	for at := from; at != to; {
		next := to
		if at.row+1 < to.row {
			next = &node{row: at.row + 1, width: lineWidth}
			l.put(next)
		}
		at.next, next.above = append(at.next, next), append(next.above, at)
		a.path = append(a.path, next)
		at = next
	}
	l.arrows = append(l.arrows, a)
}

// order puts the nodes of each row into an order with few crossings: time and again, each moves to
// the middle of those above it, then of those below it, and neighbours change places where that
// helps. The best order found stays.
func (l *layout) order() {
	best, fewest := l.snapshot(), l.crossings()
	for round := range 60 {
		for i := range l.rows {
			row, towards := l.rows[i], func(n *node) []*node { return n.above }
			if round%2 == 1 {
				row, towards = l.rows[len(l.rows)-1-i], func(n *node) []*node { return n.next }
			}
			at := l.positions()
			slices.SortStableFunc(row, func(a, b *node) int {
				return cmp.Compare(middle(a, towards(a), at), middle(b, towards(b), at))
			})
		}
		l.swap()
		if c := l.crossings(); c < fewest {
			best, fewest = l.snapshot(), c
		}
	}
	l.rows = best
}

// swap exchanges neighbours as long as that leaves fewer crossings.
func (l *layout) swap() {
	for fewer := true; fewer; {
		fewer = false
		for _, row := range l.rows {
			for i := range len(row) - 1 {
				before := l.crossings()
				row[i], row[i+1] = row[i+1], row[i]
				if l.crossings() < before {
					fewer = true
				} else {
					row[i], row[i+1] = row[i+1], row[i]
				}
			}
		}
	}
}

func (l *layout) snapshot() (rows [][]*node) {
	for _, row := range l.rows {
		rows = append(rows, slices.Clone(row))
	}
	return rows
}

// positions returns each node's place in its row, from 0 to 1.
func (l *layout) positions() map[*node]float64 {
	at := map[*node]float64{}
	for _, row := range l.rows {
		for i, n := range row {
			at[n] = (float64(i) + 0.5) / float64(len(row))
		}
	}
	return at
}

// middle is the mean position of the nodes, or n's own if there are none.
func middle(n *node, nodes []*node, at map[*node]float64) float64 {
	if len(nodes) == 0 {
		return at[n]
	}
	sum := 0.0
	for _, other := range nodes {
		sum += at[other]
	}
	return sum / float64(len(nodes))
}

// crossings counts the pairs of lines that cross between two rows.
func (l *layout) crossings() (n int) {
	at := l.positions()
	for _, row := range l.rows {
		for i, a := range row {
			for _, b := range row[i+1:] {
				for _, underA := range a.next {
					for _, underB := range b.next {
						if at[underA] > at[underB] {
							n++
						}
					}
				}
			}
		}
	}
	return n
}

// place gives each node its x: as near to those that it is linked with as its row allows. The
// conversion of a product rounds it, so that no processor adds to it first: the picture is the same
// on all of them.
func (l *layout) place() {
	for _, row := range l.rows {
		for _, n := range row {
			n.x = 0
		}
		settle(row)
	}
	for range 40 {
		for _, row := range l.rows {
			for _, n := range row {
				sum, links := n.x*0.1, 0.1
				for _, other := range slices.Concat(n.above, n.next) {
					weight := 1.0
					if n.name == "" && other.name == "" {
						weight = 4 // long arrows run straight
					}
					sum, links = sum+float64(weight*other.x), links+weight
				}
				n.x = sum / links
			}
			settle(row)
		}
	}
	left := l.rows[0][0].x
	for _, row := range l.rows {
		left = min(left, row[0].x-row[0].width/2)
	}
	for _, row := range l.rows {
		for _, n := range row {
			n.x += margin - left
		}
	}
}

// settle moves the nodes of a row apart, by the least sum of squares that keeps their order and
// leaves a gap between any two.
func settle(row []*node) {
	type group struct {
		sum     float64
		members int
	}
	offsets := make([]float64, len(row)) // of a row without slack
	for i := 1; i < len(row); i++ {
		offsets[i] = offsets[i-1] + row[i-1].width/2 + gap + row[i].width/2
	}
	mean := func(g group) float64 { return g.sum / float64(g.members) }
	var groups []group // that touch each other
	for i, n := range row {
		groups = append(groups, group{n.x - offsets[i], 1})
		for last := len(groups) - 1; last > 0 && mean(groups[last-1]) > mean(groups[last]); last-- {
			groups[last-1].sum += groups[last].sum
			groups[last-1].members += groups[last].members
			groups = groups[:last]
		}
	}
	i := 0
	for _, g := range groups {
		for range g.members {
			row[i].x = mean(g) + offsets[i]
			i++
		}
	}
}
