package http2

import (
	"fmt"
	"math/rand/v2"
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
		if got := decoded(t, new(encoder).encode(nil, 0, []byte(test.lines))); !slices.Equal(got, test.want) {
			t.Errorf("%.100q: %.300q, want %.300q", test.lines, got, test.want)
		}
	}
	for status := 100; status < 1000; status++ {
		if got := decoded(t, encodeStatus(nil, status)); len(got) != 1 || got[0] != fmt.Sprint(":status: ", status) {
			t.Fatalf("%d: %q", status, got)
		}
	}
}

// TestTable sends many headers, of fields that come again and others, while the client changes the size
// of the table. HPACK's own decoder reads what was written.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		e, d := encoder{most: tableSize}, hpack.NewDecoder(tableSize, nil)
		plain, packed := 0, 0
		for i := range 300 {
			if r.IntN(20) == 0 {
				for range 1 + r.IntN(3) {
					e.resize([...]int{0, 100, 1000, 4096, 70_000}[r.IntN(5)])
				}
			}
			var lines string
			var want []string
			for range r.IntN(15) {
				name, value := fmt.Sprint("Name-", r.IntN(20)), fmt.Sprint(strings.Repeat("v", r.IntN(2)*r.IntN(300)), r.IntN(3))
				if r.IntN(5) == 0 {
					value = fmt.Sprint(i)
				}
				lines += name + ": " + value + "\r\n"
				want = append(want, strings.ToLower(name)+": "+value)
			}
			block := e.encode(nil, 0, []byte(lines))
			plain, packed = plain+len(lines), packed+len(block)
			fields, err := d.DecodeFull(block)
			if err != nil {
				t.Fatalf("%x: %v", block, err)
			}
			var got []string
			for _, f := range fields {
				got = append(got, f.Name+": "+f.Value)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q was read as %q", want, got)
			}
		}
		if e.size > tableSize || len(e.table) > maxTable {
			t.Errorf("the table has %d bytes and %d fields", e.size, len(e.table))
		}
	}
	e := encoder{most: tableSize}
	lines := []byte("Server: nginx\r\nX-Frame-Options: DENY\r\nSet-Cookie: a=b\r\n")
	var sizes []int
	for range 6 { // four, where the two fields happen to take the same slot of what was seen
		sizes = append(sizes, len(e.encode(nil, 200, lines)))
	}
	if sizes[1] > sizes[0] || sizes[4] != sizes[5] || sizes[5] != 1+2+2+1+3 {
		t.Errorf("the same header takes %d bytes", sizes)
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
