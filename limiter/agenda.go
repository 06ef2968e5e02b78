package limiter

import "container/heap"

// agenda holds tallies by the time when Collect has to look at them, the first on top.
type agenda []*tally

// put adds the tally, or moves it to another time.
func (a *agenda) put(t *tally, due int64) {
	t.due = due
	if t.at > 0 {
		heap.Fix(a, t.at-1)
		return
	}
	heap.Push(a, t)
}

// remove removes the tally.
func (a *agenda) remove(t *tally) {
	if t.at > 0 {
		heap.Remove(a, t.at-1)
	}
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].due < a[j].due }

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].at, a[j].at = i+1, j+1
}

// Push is for container/heap.
func (a *agenda) Push(t any) {
	*a = append(*a, t.(*tally))
	(*a)[len(*a)-1].at = len(*a)
}

// Pop is for container/heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	t.at = 0
	return t
}
