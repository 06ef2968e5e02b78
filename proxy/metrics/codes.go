package metrics

import (
	"fmt"
	"io"
	"sync/atomic"
)

// Codes counts by status code, from 100 to 999. The zero value has counted nothing. It is safe for
// concurrent use.
type Codes struct{ counts [900]atomic.Uint64 }

// Add counts one. A status that is none is left out.
func (c *Codes) Add(status int) {
	if i := status - 100; i >= 0 && i < len(c.counts) {
		c.counts[i].Add(1)
	}
}

// Write writes one line for each code that was counted. labels stand before the label code; there may
// be none.
func (c *Codes) Write(w io.Writer, name, labels string) {
	if labels != "" {
		labels += ","
	}
	for i := range c.counts {
		if n := c.counts[i].Load(); n > 0 {
			fmt.Fprintf(w, "%s{%scode=\"%d\"} %d\n", name, labels, i+100, n)
		}
	}
}
