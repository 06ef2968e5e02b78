package shared

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestNewsRepeat has a server come and go each second for two minutes, for two causes in turn and with
// a loss of data each time: each of the three is told once a minute.
func TestNewsRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		n := news{log: zerolog.New(&text)}
		for second := range 120 {
			n.away([]error{errors.New("first"), errors.New("second")}[second%2])
			time.Sleep(time.Second / 2)
			n.there(2, true)
			time.Sleep(time.Second / 2)
		}
		for line, want := range map[string]int{`"first"`: 2, `"second"`: 2, "lost data": 2, "Redis is back": 4} {
			if got := strings.Count(text.String(), line); got != want {
				t.Errorf("%s is told %d times, want %d", line, got, want)
			}
		}
	})
}

// TestNewsOfOneAbsence has the server stay away: each cause is told when it begins, and not again.
func TestNewsOfOneAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		n := news{log: zerolog.New(&text)}
		for range 180 {
			n.away(errors.New("frozen"))
			time.Sleep(time.Second)
		}
		n.away(errors.New("refused"))
		n.there(2, false)
		if got := strings.Count(text.String(), "\n"); got != 3 || !strings.Contains(text.String(), `"away_ms":180000`) {
			t.Errorf("%d lines, want 3, and 180 s:\n%s", got, text.String())
		}
	})
}
