package http2

import (
	"strings"
	"testing"

	"loadbalancer/proxy/message"
)

func TestList(t *testing.T) {
	for _, test := range []struct {
		list  []string
		block string
	}{
		{get(), "host: a\r\n"},
		{get("z: 1", "a: 2", "z: 3"), "host: a\r\nz: 1\r\na: 2\r\nz: 3\r\n"},
		{get("cookie: a=1"), "host: a\r\ncookie: a=1\r\n"},
		{get("cookie: a=1", "x: y", "cookie: b=2", "z: ", "cookie: c"), "host: a\r\ncookie: a=1; b=2; c\r\nx: y\r\nz: \r\n"},
		{get("host: A"), "host: a\r\n"},
		{get("host: b"), "host: a\r\nhost: b\r\n"},
		{[]string{":path: /x", ":method: GET", ":scheme: http", "host: b"}, "host: b\r\n"},
		{[]string{":path: /x", ":method: GET", ":scheme: http", ":authority: ", "host: b"}, "host: b\r\n"},
		{[]string{":path: /x", ":method: GET", ":scheme: http", ":authority: "}, ""},
		{[]string{":method: CONNECT", ":authority: a:443"}, "host: a:443\r\n"},
		{get("te: trailers"), "host: a\r\nte: trailers\r\n"},
		{get("content-length: 12"), "host: a\r\ncontent-length: 12\r\n"},
	} {
		l := listOf(1000, test.list...)
		if err := l.end(); err != nil || l.over || string(l.buf[l.block:]) != test.block {
			t.Errorf("%q: %v, %q, want %q", test.list, err, l.buf[l.block:], test.block)
		}
	}
	l := listOf(1000, ":path: /x?y", ":authority: b", ":method: POST", ":scheme: http", "content-length: 7")
	if err := l.end(); err != nil || string(l.value(pseudoMethod)) != "POST" || string(l.value(pseudoPath)) != "/x?y" || l.length != 7 {
		t.Errorf("%v: %q %q, length %d", err, l.value(pseudoMethod), l.value(pseudoPath), l.length)
	}
}

func TestMalformedList(t *testing.T) {
	for _, test := range []struct {
		want  error
		lists [][]string
	}{
		{errPseudo, [][]string{
			get(":path: /"), get("a: b", ":x: y"), get(":x: y"), get(":status: 200"), get("a: b", ":path: /"),
			{":scheme: http", ":path: /"}, {":method: GET", ":path: /"}, {":method: GET", ":scheme: http"},
			{":method: ", ":scheme: http", ":path: /"}, {":method: GET", ":scheme: ftp", ":path: /"}, {":method: GET", ":scheme: http", ":path: "},
			{":method: GET", ":scheme: http", ":path: a"}, {":method: GET", ":scheme: http", ":path: http://a/"}, {":method: GET", ":scheme: http", ":path: **"},
			{":method: GET", ":scheme: http", ":path: /\r\nx: y"}, {":method: GET\x00", ":scheme: http", ":path: /"},
			{":method: GET", ":scheme: http", ":path: /", ":authority: user@a"},
			{":method: CONNECT"}, {":method: CONNECT", ":authority: a", ":path: /"}, {":method: CONNECT", ":authority: a", ":scheme: http"},
		}},
		{errName, [][]string{get("A: b"), get("a b: c"), get("a:b: c"), get("a\r\nb: c"), get("\x80: c"), get(" : c")}},
		{errValue, [][]string{get("a: b\r"), get("a: b\nc: d"), get("a: \x00"), get("a:  b"), get("a: b\t"), get("a:  ")}},
		{errConnection, [][]string{get("connection: x"), get("keep-alive: x"), get("proxy-connection: x"), get("transfer-encoding: chunked"), get("upgrade: x"), get("te: gzip"), get("te: trailers, gzip"), get("te: ")}},
	} {
		for _, list := range test.lists {
			if err := listOf(1000, list...).end(); err != test.want {
				t.Errorf("%q: %v, want %v", list, err, test.want)
			}
		}
	}
}

func TestListSize(t *testing.T) {
	size := 0
	for _, line := range get("a: 1234567890") {
		size += len(line) - len(": ") + 32
	}
	for _, most := range []int{size, size - 1} {
		l := listOf(most, get("a: 1234567890")...)
		if err := l.end(); err != nil || l.over != (most < size) {
			t.Errorf("%d bytes of %d: %v, over: %v", size, most, err, l.over)
		}
	}
	l := listOf(1000, get(strings.Repeat("a", 2000)+": b", "c: d")...)
	if l.over = l.over && l.end() == nil; !l.over || cap(l.buf) > 1000 {
		t.Errorf("a large field: over %v, %d bytes are held", l.over, cap(l.buf))
	}
}

func TestTrailers(t *testing.T) {
	for _, test := range []struct {
		list []string
		want error
	}{
		{[]string{"b: 1", "a: 2", "b: 3"}, nil}, {[]string{":path: /"}, errPseudo}, {[]string{"A: 1"}, errName}, {[]string{"a: 1\r\n"}, errValue},
		{[]string{"connection: a"}, errConnection}, {[]string{"a: \x01"}, errTrailers},
	} {
		l, trailers := list{most: 1000}, message.Trailers{}
		l.beginTrailers(&trailers)
		if addAll(&l, test.list); l.why != test.want {
			t.Errorf("%q: %v, want %v", test.list, l.why, test.want)
		}
	}
}

func TestParseLength(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "12": 12, "007": 7, "999999999999999999": 999999999999999999, "1000000000000000000": -1, "": -1, "-1": -1, "+1": -1, "1 ": -1, "1,1": -1, "0x1": -1} {
		if got := parseLength(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
