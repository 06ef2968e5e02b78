package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Count returns a whole number with commas between its thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// number returns a rate: whole from 100 on, with up to two decimals below.
func number(f float64) string {
	if f >= 100 {
		return Count(int64(f + 0.5))
	}
	return strconv.FormatFloat(float64(int64(f*100+0.5))/100, 'f', -1, 64)
}

// fixed returns f with so many decimals, which align in a column, and commas between thousands. f is
// 0 or more.
func fixed(f float64, decimals int) string {
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(f, 'f', decimals, 64), ".")
	n, _ := strconv.ParseInt(whole, 10, 64)
	return Count(n) + "." + fraction
}

// milliseconds returns a time in a suitable unit, with three digits.
func milliseconds(ms float64) string {
	switch {
	case ms < 1:
		return fmt.Sprintf("%.0fµs", ms*1000)
	case ms < 10:
		return fmt.Sprintf("%.2fms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.2fs", ms/1000)
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// byteCount returns a size in a suitable unit.
func byteCount(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f /= 1024; f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

func perSecond(n int64, d time.Duration) string {
	if d <= 0 {
		return byteCount(0)
	}
	return byteCount(int64(float64(n) / d.Seconds()))
}

// percent formats a share of 0 to 1. Rounding never shows a small share as none, or an incomplete
// one as all.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.001:
		return "<0.1%"
	case share < 1 && share > 0.999:
		return ">99.9%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}
