package top

import (
	"testing"
	"time"
)

func TestFigures(t *testing.T) {
	ms := func(x float64) string { return milliseconds(&x) }
	for _, tt := range []struct{ got, want string }{
		{short(0), "0"}, {short(0.04), "0"}, {short(0.3), "0.3"}, {short(3), "3"}, {short(9.96), "10"}, {short(1234.4), "1,234"},
		{short(9999.6), "10.0k"}, {short(56_700), "56.7k"}, {short(999_960), "1.0M"}, {short(8.9e6), "8.9M"}, {short(2e9), "2.0G"},
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(-1234567), "-1,234,567"}, {grouped(-123), "-123"},
		{percent(0), "0%"}, {percent(0.004), "0.4%"}, {percent(0.0999), "10%"}, {percent(0.3333), "33%"}, {percent(1), "100%"},
		{milliseconds(nil), "–"}, {ms(0), "0.00 ms"}, {ms(0.25), "0.25 ms"}, {ms(0.999), "1.0 ms"}, {ms(12.3), "12 ms"}, {ms(9999), "9999 ms"}, {ms(12_345), "12.3 s"},
		{age(-time.Second), "0 s"}, {age(119 * time.Second), "119 s"}, {age(2 * time.Minute), "2 min"}, {age(3 * time.Hour), "3 h"}, {age(49 * time.Hour), "2 days"},
		{plural(1, "request"), "1 request"}, {plural(0, "request"), "0 requests"}, {plural(1000, "error"), "1,000 errors"},
		{limitRate(0.001), "0.001"}, {limitRate(1.0 / 86400), "1.16e-05"}, {limitRate(1.25), "1.25"}, {limitRate(2500.5), "2,501"},
		{(&limited{Client: "a", Rejections: 1_234_567, Capacity: 999_999_999_999_999, RatePerSecond: 1e9}).line(60), "a                 1,234,567 1000000.0G      1.0G  default"},
		{sparkline(nil), ""}, {sparkline([]int64{0, 0}), "▁▁"}, {sparkline([]int64{0, 1, 500, 1000}), "▁▂▅█"}, {sparkline([]int64{0, 1}), "▁█"},
		{left("äb", 4), "äb  "}, {left("äbcde", 4), "äbc…"}, {right("ab", 4), "  ab"}, {right("日本語", 4), " 日…"}, {cut("abc", -1), ""},
		{ends("a", "b", 4), "a  b"}, {ends("abc", "de", 5), "abc"},
		{clean("a\x1b[1mb\nc\td"), "a�[1mb c d"}, {clean("日本 é"), "日本 é"},
		{plain("▁█ a…–·é�"), "_# a~--??"}, {plain("\x1b[1m日本e\u0301👍🏽\x1b[m"), "\x1b[1m????e??\x1b[m"}, {plain("1️⃣\n"), "1?\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestIsUTF8(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LANG": "en_US.UTF-8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.utf8"}, true},
	} {
		if got := isUTF8(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("%v: %t", tt.env, got)
		}
	}
}
