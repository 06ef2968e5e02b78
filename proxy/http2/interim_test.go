package http2

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"loadbalancer/proxy/ends"
)

// TestResetsAfterAnInterimResponse are as dear as those before: the work is not done.
func TestResetsAfterAnInterimResponse(t *testing.T) {
	dial, end := startServer(t, func(s ends.Stream) {
		_ = s.Guard(limits)
		_ = s.Proceed()
		_, _ = s.ReadBody(make([]byte, 0, 5)) // that does not come
		s.End()
	})
	defer end()
	c := dial()
	defer c.Close()
	for stream := uint32(1); stream < 2*2000; stream += 2 {
		c.open(stream, false, get("content-length: 5", "expect: 100-continue")...)
		if got := c.next(); strings.HasSuffix(got, "ENHANCE_YOUR_CALM") {
			return
		}
		_ = c.WriteRSTStream(stream, http2.ErrCodeCancel)
	}
	t.Error("2000 streams were reset after 100 Continue")
}
