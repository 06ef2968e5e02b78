package metrics

import (
	"io"
	"strconv"
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of a histogram's buckets.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second,
}

// Histogram counts durations. The zero value is ready to use. It is safe for concurrent use and
// takes no lock: a scrape during an update may miss it.
type Histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	nanos   atomic.Int64
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(int64(d))
}

// Mean returns the mean of what was counted, or 0 if nothing was.
func (h *Histogram) Mean() time.Duration {
	var total uint64
	for i := range h.buckets {
		total += h.buckets[i].Load()
	}
	if total == 0 {
		return 0
	}
	return time.Duration(h.nanos.Load() / int64(total))
}

// Quantile is Buckets.Quantile of what was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	counts := h.Buckets()
	return counts.Quantile(q)
}

// Buckets returns how many durations were counted in each bucket.
func (h *Histogram) Buckets() (counts Buckets) {
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
	}
	return counts
}

// Buckets are how many durations a Histogram has counted in each of its buckets. It is a value.
type Buckets [len(bounds) + 1]uint64

// Quantile estimates the quantile q, from 0 to 1, of what was counted, as Prometheus's
// histogram_quantile does: durations are taken to be spread evenly over their bucket. It returns
// 10s, the last bound, for a quantile above that, and 0 if nothing was counted.
func (c *Buckets) Quantile(q float64) time.Duration {
	total := c.Total()
	rank := q * float64(total)
	var below time.Duration
	for i, bound := range bounds {
		if n := float64(c[i]); n > 0 && rank <= n {
			return below + time.Duration(rank/n*float64(bound-below))
		}
		rank -= float64(c[i])
		below = bound
	}
	if total == 0 {
		return 0
	}
	return below
}

// Total returns how many durations were counted.
func (c *Buckets) Total() (total uint64) {
	for _, n := range c {
		total += n
	}
	return total
}

// upTo are the labels of the buckets, with their upper bounds in seconds.
var upTo = func() (labels [len(bounds) + 1]string) {
	for i, bound := range bounds {
		labels[i] = `le="` + strconv.FormatFloat(bound.Seconds(), 'g', -1, 64) + `"`
	}
	labels[len(bounds)] = `le="+Inf"`
	return labels
}()

// Write writes the lines of the histogram, in seconds.
func (h *Histogram) Write(w io.Writer, name, labels string) {
	_, _ = w.Write(h.Append(nil, name, labels))
}

// Append is Write to a buffer.
func (h *Histogram) Append(dst []byte, name, labels string) []byte {
	var total uint64
	for i := range h.buckets {
		total += h.buckets[i].Load()
		dst = appendSeries(dst, name, "_bucket", labels)
		dst = append(dst, ',')
		dst = append(dst, upTo[i]...)
		dst = append(dst, "} "...)
		dst = strconv.AppendUint(dst, total, 10)
		dst = append(dst, '\n')
	}
	dst = appendSeries(dst, name, "_sum", labels)
	dst = append(dst, "} "...)
	dst = strconv.AppendFloat(dst, time.Duration(h.nanos.Load()).Seconds(), 'g', -1, 64)
	dst = append(dst, '\n')
	dst = appendSeries(dst, name, "_count", labels)
	dst = append(dst, "} "...)
	dst = strconv.AppendUint(dst, total, 10)
	return append(dst, '\n')
}
