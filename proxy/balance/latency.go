package balance

import "time"

// latency picks the member of two, drawn by weight, at which another request would cost less for
// its weight: peak EWMA as in Finagle, over the two choices of Mitzenmacher, see Load.Answered and
// randomTwo.
func latency(s *Set, _ uint64, now time.Time) int {
	a, b := s.drawTwo()
	if a == b {
		return a
	}
	at, first, second := instantOf(now), &s.members[a], &s.members[b]
	if second.Load.cost(at)*float64(first.Weight) < first.Load.cost(at)*float64(second.Weight) {
		return b
	}
	return a
}
