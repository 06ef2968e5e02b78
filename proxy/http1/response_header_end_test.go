package http1

import (
	"testing"
)

// TestHeaderLinesInPieces finds the end of a header wherever the bytes are cut.
func TestHeaderLinesInPieces(t *testing.T) {
	for _, ends := range []string{"\r\n", "\n"} {
		for _, empty := range []string{"\r\n", "\n"} {
			header := "HTTP/1.1 200 OK" + ends + "A: b" + ends + empty
			for first := range len(header) + 1 {
				for second := first; second <= len(header); second++ {
					var h headerLines
					for _, have := range []string{header[:first], header[:second], header + "\n\r\n\r\n"} {
						size, err := h.end([]byte(have))
						whole := len(have) >= len(header)
						if err != nil || whole && size != len(header) || !whole && size != 0 {
							t.Fatalf("%q cut at %d and %d: after %q got %d, %v", header, first, second, have, size, err)
						}
						if whole {
							break
						}
					}
					if h.bareLF != (ends+empty != "\r\n\r\n") {
						t.Errorf("%q cut at %d and %d: bareLF is %v", header, first, second, h.bareLF)
					}
				}
			}
		}
	}
}
