package http1

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/message"

	"pgregory.net/rapid"
)

func sorted(s []int) []int {
	slices.Sort(s)
	return slices.Compact(s)
}

// decode reads a body to its end through a buffer of the size given.
func decode(conn *piecesConn, how message.Framing, length int64, size int) (content, rest string, err error) {
	b := newBody(newInbound(conn), how, length, time.Second)
	content, err = readAll(&b, size)
	return content, string(b.in.buffered()) + conn.unread(), err
}

func readAll(b *body, size int) (content string, err error) {
	var all []byte
	for !b.ended && err == nil {
		var part []byte
		part, err = b.next(make([]byte, 0, size))
		all = append(all, part...)
	}
	return string(all), err
}

// TestNextFull gives next no room: it must not wait for a peer that waits for what is to be sent
// first.
func TestNextFull(t *testing.T) {
	for _, how := range []message.Framing{message.FixedLength, message.Chunked, message.UntilClose} {
		conn := newPieces("3\r\nabc\r\n0\r\n\r\n", 1)
		b := newBody(newInbound(conn), how, 3, time.Second)
		if got, err := b.next(nil); err != nil || len(got) > 0 || len(conn.pieces) != 2 {
			t.Errorf("framing %d: got %q, %v, and %q is left to read", how, got, err, conn.unread())
		}
	}
}

var chunkedBodies = []struct{ in, want string }{
	{"0\r\n\r\n", ""},
	{"000\r\n\r\n", ""},
	{"5\r\nhello\r\n0\r\n\r\n", "hello"},
	{"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", "hello, world"},
	{"00000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
	{"aA\r\n" + strings.Repeat("x", 0xaa) + "\r\n0\r\n\r\n", strings.Repeat("x", 0xaa)},
	{"3;name=value;q=\"a;b\"\r\nabc\r\n0;last\r\n\r\n", "abc"},
	{"3 \t; a\t=\t b ;c\r\nabc\r\n0\t;d=\"\\\"\\\t\x80\"\r\n\r\n", "abc"},
	{"3   \r\nabc\r\n0   \r\n\r\n", "abc"},
	{"3\t \t\r\nabc\r\n00 \r\nA: b\r\n\r\n", "abc"},
	{"3;a \r\nabc\r\n1 ; b=\"c\"; d=e \t\r\nd\r\n0;f \r\n\r\n", "abcd"},
	{"3" + strings.Repeat(" ", maxExtension) + "\r\nabc\r\n0\r\n\r\n", "abc"},
	{"3\r\na\r\n\r\n0\r\n\r\n", "a\r\n"},
	{"1\r\na\r\n0\r\nTrailer: value\r\nOther:\r\n\r\n", "a"},
	{"3;" + strings.Repeat("x", maxExtension-1) + "\r\nabc\r\n0\r\n\r\n", "abc"},
	{"0\r\nA:" + strings.Repeat("b", maxLine-3) + "\r\n\r\n", ""},
}

// TestChunked cuts each body at every pair of places: what comes out is the same, and what stands
// behind it is left alone.
func TestChunked(t *testing.T) {
	const next = "GET / HTTP/1.1\r\n"
	for _, test := range chunkedBodies {
		in := test.in + next
		step := 1 + len(in)/100
		for first := 0; first < len(in); first += step {
			for second := first; second < len(in); second += step {
				for _, size := range []int{1, 7, 4096} {
					got, rest, err := decode(newPieces(in, first, second), message.Chunked, 0, size)
					if err != nil || got != test.want || rest != next {
						t.Fatalf("%.80q cut at %d and %d into %d bytes: got %.80q, rest %.80q, %v", in, first, second, size, got, rest, err)
					}
				}
			}
		}
	}
}

func TestChunkedRefuses(t *testing.T) {
	for _, test := range []struct {
		in   string
		want error
	}{
		{"\r\n", errChunk},
		{"g\r\n", errChunk},
		{"-1\r\n", errChunk},
		{"+1\r\n", errChunk},
		{"0x1\r\na\r\n", errChunk},
		{" 1\r\na\r\n", errChunk},
		{"1 1\r\na\r\n", errChunk},
		{"1,\r\na\r\n", errChunk},
		{";a\r\n", errChunk},
		{"1\x00\r\na\r\n", errChunk},
		{"1\r\r\na\r\n", errChunk},
		{"1;\x00\r\na\r\n", errChunk},
		{"1;\ra\r\na\r\n", errChunk},
		{"0000000000000001\r\na\r\n", errChunk}, // sixteen digits
		{"ffffffffffffffff\r\n", errChunk},
		{"10000000000000000\r\n", errChunk},
		{"1;" + strings.Repeat("x", maxExtension) + "\r\na\r\n", errChunk},
		{"1" + strings.Repeat(" ", maxExtension+1) + "\r\na\r\n", errChunk},
		{"1 a\r\na\r\n", errChunk},
		{"1 ;\r\na\r\n", errChunk},
		{"1 =x\r\na\r\n", errChunk},
		{"1 \x00\r\na\r\n", errChunk},
		{"1 \r \r\na\r\n", errChunk},
		{"1\v\r\na\r\n", errChunk},
		{"1\xa0\r\na\r\n", errChunk},
		{"  1 \r\na\r\n", errChunk},
		{"   \r\na\r\n", errChunk},
		{"0x1 \r\na\r\n", errChunk},
		{"+1 \r\na\r\n", errChunk},
		{"1 \na\r\n", errLine},
		{"1\r\na \r\n", errChunk},
		{"1;\r\na\r\n", errChunk},
		{"1; \r\na\r\n", errChunk},
		{"1;x" + strings.Repeat(" ", maxExtension-1) + "\r\na\r\n", errChunk},
		{"1;x ;\r\na\r\n", errChunk},
		{"1;x;\r\na\r\n", errChunk},
		{"1;;x\r\na\r\n", errChunk},
		{"1;x y\r\na\r\n", errChunk},
		{"1;[x]\r\na\r\n", errChunk},
		{"1;x=\r\na\r\n", errChunk},
		{"1;=x\r\na\r\n", errChunk},
		{"1;x=y=z\r\na\r\n", errChunk},
		{"1;x=[y]\r\na\r\n", errChunk},
		{"1;x=\"y\r\na\r\n", errChunk},
		{"1;x=\"y\\\"\r\na\r\n", errChunk},
		{"1;x=\"y\\\r\na\r\n", errChunk},
		{"1;x=\"\x00\"\r\na\r\n", errChunk},
		{"1;x=\"\\\x00\"\r\na\r\n", errChunk},
		{"1;x=\"\x7f\"\r\na\r\n", errChunk},
		{"1;x=\"y\"z\r\na\r\n", errChunk},
		{"1;\"x\"=y\r\na\r\n", errChunk},
		{"1;\x80\r\na\r\n", errChunk},
		{"1\na\r\n0\r\n\r\n", errLine},
		{"\n", errLine},
		{"1\r\na\n0\r\n\r\n", errLine},
		{"1\r\na\r\n0\n\r\n", errLine},
		{"1\r\na\r\n0\r\n\n", errLine},
		{"1\r\nab\r\n0\r\n\r\n", errChunk},
		{"1\r\na0\r\n\r\n", errChunk},
		{"2\r\na\r\n0\r\n\r\n", errLine}, // the size counts one byte more
		{"0\r\nA b: c\r\n\r\n", errChunk},
		{"0\r\n: c\r\n\r\n", errChunk},
		{"0\r\nA: b\r\n c\r\n\r\n", errChunk},
		{"0\r\nA: b\x00\r\n\r\n", errChunk},
		{"0\r\nA:" + strings.Repeat("b", maxLine) + "\r\n\r\n", errLine},
		{strings.Repeat("0", maxLine+1), errLine},
		{"", io.ErrUnexpectedEOF},
		{"5", io.ErrUnexpectedEOF},
		{"5\r\nhell", io.ErrUnexpectedEOF},
		{"5\r\nhello", io.ErrUnexpectedEOF},
		{"5\r\nhello\r\n", io.ErrUnexpectedEOF},
		{"0\r\n", io.ErrUnexpectedEOF},
		{"0\r\nA: b\r\n", io.ErrUnexpectedEOF},
	} {
		step := 1 + len(test.in)/100
		for cut := 0; cut <= len(test.in); cut += step {
			for _, size := range []int{1, 4096} {
				if got, _, err := decode(newPieces(test.in, cut), message.Chunked, 0, size); !errors.Is(err, test.want) {
					t.Errorf("%.80q cut at %d: got %q, %v, want %v", test.in, cut, got, err, test.want)
				}
			}
		}
	}
}

// What appendChunk frames, the decoder reads back.
func TestAppendChunk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SampledFrom([]string{"", "HTTP/1.1 200 OK\r\n\r\n"}).Draw(t, "before")
		size := rapid.OneOf(rapid.IntRange(1, 40), rapid.SampledFrom([]int{255, 256, 4095, 4096, 65535, 65536})).Draw(t, "size")
		data := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		b := appendChunk(append([]byte(before), data...), len(before))
		if over := len(b) - len(before) - size; over > chunkOverhead-len(lastChunk) {
			t.Fatalf("%d bytes of overhead, more than chunkOverhead has room for", over)
		}
		b = append(b, lastChunk...)
		if !strings.HasPrefix(string(b), before) {
			t.Fatal("what stood before was changed")
		}
		got, rest, err := decode(newPieces(string(b[len(before):])), message.Chunked, 0, 4096)
		if err != nil || got != data || rest != "" {
			t.Fatalf("got %d bytes, rest %q, %v, want %d bytes", len(got), rest, err, size)
		}
	})
}

// A buffer with room for chunkOverhead is never moved: the caller's stays the one that is used.
func TestAppendChunkInPlace(t *testing.T) {
	b := make([]byte, 1000, 1000+chunkOverhead)
	if framed := append(appendChunk(b, 0), lastChunk...); &framed[0] != &b[0] {
		t.Error("the chunk does not fit into the room that chunkOverhead promises")
	}
}

func TestFixedLength(t *testing.T) {
	for cut := range 9 {
		for _, size := range []int{1, 3, 64} {
			got, rest, err := decode(newPieces("hellonext", cut), message.FixedLength, 5, size)
			if err != nil || got != "hello" || rest != "next" {
				t.Errorf("cut at %d into %d bytes: got %q, rest %q, %v", cut, size, got, rest, err)
			}
			if got, _, err = decode(newPieces("hell", cut), message.FixedLength, 5, size); err != io.ErrUnexpectedEOF || got != "hell" {
				t.Errorf("broken off, cut at %d: got %q, %v", cut, got, err)
			}
		}
	}
	if b := newBody(nil, message.FixedLength, 0, 0); !b.ended || !b.ready() {
		t.Error("a body of no length has not ended")
	}
	if b := newBody(nil, message.NoBody, 0, 0); !b.ended || !b.ready() {
		t.Error("no body has not ended")
	}
}

func TestUntilClose(t *testing.T) {
	for cut := range 5 {
		if got, rest, err := decode(newPieces("hello", cut), message.UntilClose, 0, 3); err != nil || got != "hello" || rest != "" {
			t.Errorf("cut at %d: got %q, rest %q, %v", cut, got, rest, err)
		}
	}
}

// What is there goes out before the body waits for more.
func TestNextDoesNotWait(t *testing.T) {
	in := newInbound(newPieces("5\r\nhello\r\n3\r\nab", 10))
	b := newBody(in, message.Chunked, 0, time.Second)
	if b.ready() {
		t.Error("ready before a byte has come")
	}
	for _, want := range []string{"hello", "ab"} {
		if got, err := b.next(make([]byte, 0, 64)); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}
