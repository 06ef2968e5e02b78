package http2

import (
	"strings"

	"golang.org/x/net/http2/hpack"
)

// listOf returns a list of "name: value", where a name may begin with a colon.
func listOf(most int, fields ...string) *list {
	l := &list{most: most}
	l.begin(nil)
	addAll(l, fields)
	return l
}

func addAll(l *list, fields []string) {
	for _, line := range fields {
		at := 1 + strings.Index(line[1:], ": ")
		l.add(hpack.HeaderField{Name: line[:at], Value: line[at+2:]})
	}
}

// get returns the list of a GET, with further fields.
func get(more ...string) []string {
	return append([]string{":method: GET", ":scheme: https", ":authority: a", ":path: /"}, more...)
}
