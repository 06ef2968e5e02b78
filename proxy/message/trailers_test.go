package message

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestAppendTrailers(t *testing.T) {
	var h hop
	if !h.add([]byte("x-hop, X-Other")) {
		t.Fatal("the option was refused")
	}
	for _, test := range []struct{ name, trailers, want string }{
		{"none", "", ""},
		{"order, case, duplicates and empty values stay", "B: 2\r\nserver-timing:a \r\nX_Odd:\t\x80\r\nb: 3\r\nC:\r\n", "B: 2\r\nserver-timing:a \r\nX_Odd:\t\x80\r\nb: 3\r\nC:\r\n"},
		{"named by Connection", "A: 1\r\nX-Hop: 2\r\nX-OTHER: 3\r\n", "A: 1\r\n"},
		{"none that goes on", "Content-Length: 5\r\n", ""},
	} {
		tr := Trailers{block: []byte(test.trailers)}
		if got, want := string(tr.append([]byte("before"), &h)), "before"+test.want; got != want {
			t.Errorf("%s: got %q, want %q", test.name, got, want)
		}
	}
}

// What a proxy has to understand is never passed on behind a body, however it is spelt.
func TestTrailersThatEndHere(t *testing.T) {
	names := slices.Collect(maps.Keys(kinds))
	names = slices.DeleteFunc(names, func(name string) bool { return kinds[name].ordinary() })
	for _, name := range append(names, "x-api-key", "cf-connecting-ip") {
		for _, spelt := range spellings(name) {
			for _, spelt := range []string{spelt, strings.ReplaceAll(spelt, "-", "_"), strings.Replace(spelt, "-", "_", 1)} {
				tr := Trailers{block: []byte("A: 1\r\n" + spelt + ": 2\r\nB: 3\r\n")}
				if got := string(tr.append(nil, &hop{key: "x-api-key", Own: Own{ClientField: "cf-connecting-ip"}})); got != "A: 1\r\nB: 3\r\n" {
					t.Fatalf("%s: got %q", spelt, got)
				}
			}
		}
	}
}
