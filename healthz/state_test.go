package healthz

import (
	"strings"
	"testing"
)

var results = map[rune]Cause{'+': Passed, '-': NoAnswer, '5': WrongStatus}

func TestStateNext(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		results    string // of the checks: + success, - no answer, 5 wrong status
		want       string // after each: U up, D down, 5 down because of the latest answer; small letters: unchanged by this check
	}{
		{"stays up", 2, 2, "+++", "uuu"},
		{"the first failure of all is enough", 2, 3, "-", "D"},
		{"and rise brings it back", 2, 3, "-++", "DdU"},
		{"proven by one success", 2, 3, "+---", "uuuD"},
		{"fall in a row", 2, 2, "+-+-+--", "uuuuuuD"},
		{"rise in a row", 3, 1, "+-++-+++", "uDdddddU"},
		{"proven once for all", 1, 2, "-+-+--", "DUuuuD"},
		{"down and still failing", 2, 1, "----", "Dddd"},
		{"rise and fall of one", 1, 1, "+-+-", "uDUD"},
		{"answers, and then does not", 2, 2, "+555--", "uu55dd"},
		{"does not answer, and then does", 2, 2, "--5+-", "Dd55d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s state
			var got strings.Builder
			for _, result := range tt.results {
				before := s
				s = s.next(results[result], tt.rise, tt.fall)
				letter := map[Cause]string{Passed: "u", NoAnswer: "d", WrongStatus: "5"}[s.cause]
				if s.down() != before.down() {
					letter = strings.ToUpper(letter)
				}
				got.WriteString(letter)
			}
			if got.String() != tt.want {
				t.Errorf("rise %d, fall %d, results %s: got %s, want %s", tt.rise, tt.fall, tt.results, got.String(), tt.want)
			}
		})
	}
}

func TestStateSuspect(t *testing.T) {
	tests := []struct {
		results string
		want    bool
	}{
		{"", false},
		{"+", false},
		{"+-", false}, // still up: its next check decides, and must not wait behind those that are out
		{"-", true},
		{"--", true},
		{"-+", false}, // on its way back
		{"-+-", true},
		{"-++", false},
	}
	for _, tt := range tests {
		var s state
		for _, result := range tt.results {
			s = s.next(results[result], 2, 2)
		}
		if got := s.suspect(); got != tt.want {
			t.Errorf("after %q: suspect is %v, want %v", tt.results, got, tt.want)
		}
	}
}
