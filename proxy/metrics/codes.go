package metrics

import (
	"io"
	"strconv"
	"sync/atomic"
)

// Codes counts by status code, from 100 to 999. The zero value is ready to use. It is safe for
// concurrent use.
type Codes struct{ counts [900]atomic.Uint64 }

// Add counts one. A value that is not a status is ignored.
func (c *Codes) Add(status int) {
	if i := status - 100; i >= 0 && i < len(c.counts) {
		c.counts[i].Add(1)
	}
}

// Each calls f with each status that was counted, and how often.
func (c *Codes) Each(f func(status int, n uint64)) {
	for i := range c.counts {
		if n := c.counts[i].Load(); n > 0 {
			f(i+100, n)
		}
	}
}

// Classes are counts by class of status: 1xx, 2xx, 3xx, 4xx and 5xx. It is a value.
type Classes [5]uint64

// Total returns the sum of the counts.
func (c *Classes) Total() (total uint64) {
	for _, n := range c {
		total += n
	}
	return total
}

// Classes returns what was counted by class. What is no status of HTTP, from 600 on, counts as 5xx.
func (c *Codes) Classes() (counts Classes) {
	for i := range c.counts {
		counts[min(i/100, len(counts)-1)] += c.counts[i].Load()
	}
	return counts
}

// Write writes one line for each status that was counted. labels go before the label code, and may
// be empty.
func (c *Codes) Write(w io.Writer, name, labels string) { _, _ = w.Write(c.Append(nil, name, labels)) }

// Append is Write to a buffer.
func (c *Codes) Append(dst []byte, name, labels string) []byte {
	for i := range c.counts {
		n := c.counts[i].Load()
		if n == 0 {
			continue
		}
		dst = appendSeries(dst, name, "", labels)
		if labels != "" {
			dst = append(dst, ',')
		}
		dst = append(dst, `code="`...)
		dst = strconv.AppendInt(dst, int64(i+100), 10)
		dst = append(dst, `"} `...)
		dst = strconv.AppendUint(dst, n, 10)
		dst = append(dst, '\n')
	}
	return dst
}
