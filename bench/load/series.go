package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	firstWidth   = 25 * time.Millisecond
	maxIntervals = 120
)

// Interval holds what ended in one stretch of the run. Start counts from the start of the run.
type Interval struct {
	Start, Length time.Duration
	Statuses      map[int]int64 // responses by status code
	Failures      int64
	Latency       *hdrhistogram.Histogram // microseconds, of the responses
}

// absorb adds another interval's counts.
func (i *Interval) absorb(other *Interval) {
	for status, n := range other.Statuses {
		i.Statuses[status] += n
	}
	i.Failures += other.Failures
	i.Latency.Merge(other.Latency)
}

// series is the run over time, in intervals of equal width, without gaps. When it holds
// maxIntervals, it merges them in pairs and doubles the width. A run of any length thus takes the
// same memory and makes a readable chart.
type series struct {
	width     time.Duration
	intervals []*Interval
}

// at returns the interval that holds the given time, which is 0 or more.
func (s *series) at(t time.Duration) *Interval {
	for t >= s.width*maxIntervals {
		s.merge()
	}
	i := int(t / s.width)
	for len(s.intervals) <= i {
		start := time.Duration(len(s.intervals)) * s.width
		s.intervals = append(s.intervals, &Interval{
			Start: start, Length: s.width, Statuses: map[int]int64{}, Latency: newHistogram(2),
		})
	}
	return s.intervals[i]
}

func (s *series) merge() {
	s.width *= 2
	half := (len(s.intervals) + 1) / 2
	for i := range half {
		a := s.intervals[2*i]
		a.Length = s.width
		if 2*i+1 < len(s.intervals) {
			a.absorb(s.intervals[2*i+1])
		}
		s.intervals[i] = a
	}
	clear(s.intervals[half:])
	s.intervals = s.intervals[:half]
}

// until returns the intervals of a run of this length; the last one ends with it. A rest shorter
// than half an interval is too short to be meaningful, and is added to the interval before.
func (s *series) until(elapsed time.Duration) []*Interval {
	if elapsed <= 0 {
		return s.intervals
	}
	s.at(elapsed) // silence at the end is part of the run
	last := len(s.intervals) - 1
	if rest := elapsed - s.intervals[last].Start; last > 0 && rest < s.width/2 {
		s.intervals[last-1].absorb(s.intervals[last])
		s.intervals = s.intervals[:last]
		last--
	}
	s.intervals[last].Length = elapsed - s.intervals[last].Start
	return s.intervals
}
