package message

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestAppendDate wants the date of each time, in whatever order they come and from several
// goroutines at once.
func TestAppendDate(t *testing.T) {
	start := time.Date(2026, 1, 9, 23, 59, 58, 999_999_999, time.FixedZone("", 3600))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, after := range []time.Duration{0, 1, time.Second, 0, -time.Nanosecond, 400 * 24 * time.Hour, time.Second} {
				now := start.Add(after)
				if got, want := string(AppendDate([]byte("A: 1\r\n"), now)), "A: 1\r\nDate: "+now.UTC().Format(http.TimeFormat)+"\r\n"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
	all.Wait()
}
