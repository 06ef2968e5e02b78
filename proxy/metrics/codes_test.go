package metrics

import (
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	var c Codes
	for _, code := range []int{99, 100, 200, 200, 599, 999, 1000, 0, -1} {
		c.Add(code)
	}
	var b strings.Builder
	c.Write(&b, "n", `a="b"`)
	if want := "n{a=\"b\",code=\"100\"} 1\nn{a=\"b\",code=\"200\"} 2\nn{a=\"b\",code=\"599\"} 1\nn{a=\"b\",code=\"999\"} 1\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if got, want := c.Classes(), (Classes{1, 2, 0, 0, 2}); got != want || want.Total() != 5 {
		t.Errorf("got the classes %v, want %v", got, want)
	}
}
