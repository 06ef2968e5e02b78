package http2

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// decoded returns a block as HPACK's own decoder reads it.
func decoded(t testing.TB, block []byte) (all []string) {
	t.Helper()
	fields, err := hpack.NewDecoder(0, nil).DecodeFull(block)
	if err != nil {
		t.Fatalf("%x: %v", block, err)
	}
	for _, f := range fields {
		all = append(all, f.Name+": "+f.Value)
	}
	return all
}

func TestBlock(t *testing.T) {
	long := strings.Repeat("v", 20_000)
	for _, test := range []struct {
		lines string
		want  []string
	}{
		{"", nil},
		{"Server: a\r\nX-B:  b \r\nx-b: c\r\nEmpty:\r\n", []string{"server: a", "x-b: b", "x-b: c", "empty: "}},
		{"Connection: x\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nA: b\r\n\r\n", []string{"a: b"}},
		{"A: " + long + "\r\n", []string{"a: " + long}},
		{strings.Repeat("N", 200) + ": a:b\r\n", []string{strings.Repeat("n", 200) + ": a:b"}},
		{"A: b", []string{"a: b"}},
	} {
		if got := decoded(t, encodeFields(nil, []byte(test.lines))); !slices.Equal(got, test.want) {
			t.Errorf("%.100q: %.300q, want %.300q", test.lines, got, test.want)
		}
	}
	for status := 100; status < 1000; status++ {
		if got := decoded(t, encodeStatus(nil, status)); len(got) != 1 || got[0] != fmt.Sprint(":status: ", status) {
			t.Fatalf("%d: %q", status, got)
		}
	}
}

// TestStaticNames asks HPACK's own decoder what the names of the static table are.
func TestStaticNames(t *testing.T) {
	known := 0
	for i := 1; i <= 61; i++ {
		name, _, _ := strings.Cut(decoded(t, append(appendInt(nil, 0, 4, i), 0))[0], ": ")
		switch got := staticName([]byte(name)); got {
		case 0:
		case i:
			known++
		default:
			t.Errorf("%s is %d in the table, not %d", name, i, got)
		}
	}
	if known < 20 {
		t.Errorf("%d names are known", known)
	}
}
