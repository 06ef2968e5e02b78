package http1

import (
	"strconv"
	"strings"
	"testing"

	"loadbalancer/proxy/reason"
)

// TestReadBodyBound reads bodies of about the largest size allowed, in pieces that end anywhere:
// the last piece counts too.
func TestReadBodyBound(t *testing.T) {
	const most = 10_000
	for _, size := range []int{0, 1, most - 1, most, most + 1, most + 4000, 2 * most} {
		body := strings.Repeat("x", size)
		for name, raw := range map[string]string{
			"chunked": withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked") + inChunks([]byte(body)),
			"fixed":   withHost("POST / HTTP/1.1", "Content-Length: "+strconv.Itoa(size)) + body,
		} {
			s, why, parsed := parsedRequest(newPieces(raw, len(raw)/3))
			if !parsed || why != reason.None {
				t.Fatalf("%s of %d bytes: parsed %v, refused with %v", name, size, parsed, why)
			}
			content, why := s.ReadBody(most)
			if want := size > most; (why == reason.BodyTooLarge) != want || !want && string(content) != body {
				t.Errorf("%s of %d bytes: got %d bytes and %q", name, size, len(content), why)
			}
			endStream(s)
		}
	}
}
