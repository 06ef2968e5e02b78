package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a flag for a number of bytes: a whole number, alone or with a unit, such as 128 or 64KiB.
type size int64

// String implements flag.Value.
func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

// Set implements flag.Value.
func (s *size) Set(text string) error {
	digits := strings.TrimRight(text, "BbiIKkMmGgTt ")
	n, err := strconv.ParseInt(digits, 10, 64)
	factor, known := map[string]int64{
		"": 1, "b": 1,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
		"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	}[strings.ToLower(strings.TrimSpace(text[len(digits):]))]
	if err != nil || !known || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("must be a size such as 128, 64KiB or 1GiB")
	}
	*s = size(n * factor)
	return nil
}
