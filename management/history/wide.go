package history

import "time"

// Tally is what the counters of a pool or a backend say.
type Tally struct {
	Pool, Backend    string // Backend "": those of the pool
	Requests, Errors uint64
}

// wide has a series of points for each pool and backend, all on one axis.
type wide struct {
	ring   ring
	times  [Points]int64 // Unix milliseconds
	began  bool          // there was a reading
	turn   uint64
	series map[key]*series
}

type key struct{ pool, backend string }

// series is that of one pool or backend.
type series struct {
	last             Tally // as it was at the latest point
	turn             uint64
	requests, errors [Points]uint32
}

// AddWide adds a point to the series of each pool and backend: by how much the counters have risen
// since the call before. Series that it is not handed end. The first call makes no points.
func (h *History) AddWide(at time.Time, all []Tally) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &h.wide
	place, first := -1, !w.began
	if w.began = true; !first {
		place = w.ring.push()
		w.times[place] = at.UnixMilli()
	}
	w.turn++
	for _, now := range all {
		k := key{now.Pool, now.Backend}
		s := w.series[k]
		if s == nil {
			s = &series{}
			w.series[k] = s
		}
		if !first {
			s.requests[place], s.errors[place] = risen(s.last.Requests, now.Requests), risen(s.last.Errors, now.Errors)
		}
		s.last, s.turn = now, w.turn
	}
	for k, s := range w.series {
		if s.turn != w.turn {
			delete(w.series, k)
		}
	}
}

// Times returns when the latest n points were made, or all if there are fewer, in Unix seconds, the
// oldest first.
func (h *History) Times(n int) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	times := make([]float64, 0, min(n, h.wide.ring.held))
	h.wide.ring.latest(n, func(at int) { times = append(times, seconds(h.wide.times[at])) })
	return times
}

// Recent is the series of a pool or backend, the oldest point first.
type Recent struct {
	Requests []uint32 `json:"requests"`
	Errors   []uint32 `json:"errors"`
}

// Recent returns the latest n points, or all if there are fewer, of a backend, or with backend "" of
// its pool. They are 0 where it had no series.
func (h *History) Recent(pool, backend string, n int) *Recent {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = min(n, h.wide.ring.held)
	points := make([]uint32, 0, 2*n)
	r := &Recent{points[:0:n], points[n:n]}
	s := h.wide.series[key{pool, backend}]
	if s == nil {
		s = &series{}
	}
	h.wide.ring.latest(n, func(at int) {
		r.Requests, r.Errors = append(r.Requests, s.requests[at]), append(r.Errors, s.errors[at])
	})
	return r
}

// lately is how many points, beside what was counted since, are the last minute.
const lately = int(time.Minute / WideStep)

// Lately returns how many requests a pool or backend had in the last 60 to 70 seconds, or since the
// process began if that is less. requests is how many it has had in all.
func (h *History) Lately(pool, backend string, requests uint64) (n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.wide.series[key{pool, backend}]
	if s == nil {
		return requests
	}
	n = uint64(risen(s.last.Requests, requests))
	h.wide.ring.latest(lately, func(at int) { n += uint64(s.requests[at]) })
	return n
}
