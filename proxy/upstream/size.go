package upstream

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Size is a number of bytes, written as 16KiB, 8MiB, 1GiB or a plain number.
type Size int64

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	for s >= 1<<10 && s%(1<<10) == 0 && len(units) > 1 {
		s, units = s>>10, units[1:]
	}
	return strconv.FormatInt(int64(s), 10) + units[0]
}

// UnmarshalYAML parses a size.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	text, factor := strings.TrimSpace(n.Value), int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(text, unit); ok {
			text, factor = strings.TrimSpace(rest), 1<<(10*(i+1))
		}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if n.Kind != yaml.ScalarNode || err != nil || v < 0 || v > math.MaxInt64/factor || len(text) > 1 && text[0] == '0' {
		return errors.New("a size in decimal digits without a leading zero: 16KiB, 8MiB, 1GiB or a number of bytes")
	}
	*s = Size(v * factor)
	return nil
}
