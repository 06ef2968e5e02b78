package metrics

import (
	"fmt"
	"io"
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

// Write writes one line for each status that was counted. labels go before the label code, and may
// be empty.
func (c *Codes) Write(w io.Writer, name, labels string) {
	if labels != "" {
		labels += ","
	}
	c.Each(func(status int, n uint64) {
		fmt.Fprintf(w, "%s{%scode=\"%d\"} %d\n", name, labels, status, n)
	})
}
