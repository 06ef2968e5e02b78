package healthz

import (
	"errors"
	"strconv"
	"strings"
)

// The status codes that a check can expect. Interim responses (1xx) are no answer to a check.
const (
	minStatus = 200
	maxStatus = 999
)

// Statuses is a set of status codes from 200 to 999. The zero value is empty. Sets can be compared.
type Statuses [(maxStatus-minStatus)/64 + 1]uint64

// errStatuses says what UnmarshalText allows.
var errStatuses = errors.New("status codes from 200 to 999 and ranges of them, such as 200,204,301-302")

// UnmarshalText parses codes and ranges such as 200,204,301-302, with or without spaces around
// them. Its error says what is allowed.
func (s *Statuses) UnmarshalText(text []byte) error {
	var set Statuses
	for part := range strings.SplitSeq(string(text), ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, ok := parseCode(from)
		last := first
		if ok && isRange {
			last, ok = parseCode(to)
		}
		if !ok || last < first {
			return errStatuses
		}
		for code := first; code <= last; code++ {
			set[(code-minStatus)/64] |= 1 << ((code - minStatus) % 64)
		}
	}
	*s = set
	return nil
}

// parseCode parses one status code.
func parseCode(text string) (code int, ok bool) {
	text = strings.Trim(text, " ")
	code, err := strconv.Atoi(text)
	return code, err == nil && len(text) == 3 && code >= minStatus && code <= maxStatus
}

// Has reports whether the set has a code.
func (s Statuses) Has(code int) bool {
	if code < minStatus || code > maxStatus {
		return false
	}
	return s[(code-minStatus)/64]>>((code-minStatus)%64)&1 != 0
}

// String returns the set in ascending order, in the form that UnmarshalText reads.
func (s Statuses) String() string {
	var parts []string
	for first := minStatus; first <= maxStatus; first++ {
		if !s.Has(first) {
			continue
		}
		last := first
		for s.Has(last + 1) {
			last++
		}
		part := strconv.Itoa(first)
		if last > first {
			part += "-" + strconv.Itoa(last)
		}
		parts = append(parts, part)
		first = last
	}
	return strings.Join(parts, ",")
}

// anySuccess returns the statuses of success and redirection, the default.
func anySuccess() Statuses {
	var s Statuses
	if s.UnmarshalText([]byte("200-399")) != nil {
		panic("BUG: the default statuses are invalid")
	}
	return s
}
