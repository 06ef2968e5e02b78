package proxy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// chunkedUpTo makes a body of one-byte chunks whose extensions add up to the bytes
// given.
func chunkedUpTo(extensions int) string {
	var b strings.Builder
	for extensions > 0 {
		size := min(extensions, maxExtension)
		if extensions-size == 1 { // ";" alone is none
			size--
		}
		fmt.Fprintf(&b, "1;%s\r\na\r\n", strings.Repeat("x", size-1))
		extensions -= size
	}
	return b.String() + "0\r\n\r\n"
}

func TestExtensionsOfABodyAreBounded(t *testing.T) {
	if _, _, err := decode(newPieces(chunkedUpTo(maxExtensions)), chunked, 0, 4096); err != nil {
		t.Errorf("%d bytes: %v", maxExtensions, err)
	}
	if _, _, err := decode(newPieces(chunkedUpTo(maxExtensions+1)), chunked, 0, 4096); !errors.Is(err, errChunk) {
		t.Errorf("%d bytes: %v, want %v", maxExtensions+1, err, errChunk)
	}
}

// White space that pads sizes to a usual width has no bound over a whole body; wider padding has
// that of extensions.
func TestPaddingOfABodyIsBounded(t *testing.T) {
	padded := func(width, chunks int) string {
		return strings.Repeat(fmt.Sprintf("%-*s\r\na\r\n", width, "1"), chunks) + "0\r\n\r\n"
	}
	for _, test := range []struct {
		width, chunks int
		want          error
	}{
		{8, maxExtensions, nil},
		{maxPadded, maxExtensions, nil},
		{maxPadded + 1, maxExtensions, nil},
		{maxPadded + 1, maxExtensions + 1, errChunk},
		{1 + maxExtension, maxExtensions / 200, errChunk},
	} {
		if _, _, err := decode(newPieces(padded(test.width, test.chunks)), chunked, 0, 4096); !errors.Is(err, test.want) {
			t.Errorf("%d sizes padded to %d bytes: %v, want %v", test.chunks, test.width, err, test.want)
		}
	}
}

// section makes trailer lines of the bytes given in all, 5 or more.
func section(bytes int) string {
	var b strings.Builder
	for ; bytes > 2048; bytes -= 1024 {
		fmt.Fprintf(&b, "A:%s\r\n", strings.Repeat("b", 1024-4))
	}
	fmt.Fprintf(&b, "A:%s\r\n", strings.Repeat("b", bytes-4))
	return b.String()
}

func TestTrailersAreBounded(t *testing.T) {
	for _, test := range []struct {
		name, section string
		fits          bool
	}{
		{"bytes", section(maxTrailers), true},
		{"one byte more", section(maxTrailers + 1), false},
		{"fields", strings.Repeat("A: b\r\n", maxFields), true},
		{"one field more", strings.Repeat("A: b\r\n", maxFields+1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBody(newInbound(newPieces("0\r\n"+test.section+"\r\n", 5000)), chunked, 0, time.Second)
			_, err := readAll(&b, 16)
			if (err == nil) != test.fits || err != nil && !errors.Is(err, errChunk) {
				t.Fatalf("got %v, want it taken: %v", err, test.fits)
			}
			if got := string(b.trailers.block); test.fits && got != test.section {
				t.Errorf("kept %d bytes, want %d", len(got), len(test.section))
			}
			if len(b.trailers.block) > maxTrailers {
				t.Errorf("%d bytes are kept", len(b.trailers.block))
			}
		})
	}
}

func TestAppendLastChunk(t *testing.T) {
	var hop hopOptions
	if !hop.add([]byte("x-hop, X-Other")) {
		t.Fatal("the option was refused")
	}
	for _, test := range []struct{ name, trailers, want string }{
		{"none", "", ""},
		{"order, case, duplicates and empty values stay", "B: 2\r\nserver-timing:a \r\nX_Odd:\t\x80\r\nb: 3\r\nC:\r\n", "B: 2\r\nserver-timing:a \r\nX_Odd:\t\x80\r\nb: 3\r\nC:\r\n"},
		{"named by Connection", "A: 1\r\nX-Hop: 2\r\nX-OTHER: 3\r\n", "A: 1\r\n"},
		{"none that goes on", "Content-Length: 5\r\n", ""},
	} {
		tr := trailers{block: []byte(test.trailers)}
		if got, want := string(tr.appendLastChunk([]byte("before"), &hop)), "before0\r\n"+test.want+"\r\n"; got != want {
			t.Errorf("%s: got %q, want %q", test.name, got, want)
		}
	}
}

// What a proxy has to understand is never passed on behind a body, however it is
// spelt.
func TestTrailersThatEndHere(t *testing.T) {
	for _, name := range append(slices.Collect(maps.Keys(kinds)), "x-api-key", "cf-connecting-ip") {
		for _, spelt := range spellings(name) {
			for _, spelt := range []string{spelt, strings.ReplaceAll(spelt, "-", "_"), strings.Replace(spelt, "-", "_", 1)} {
				tr := trailers{block: []byte("A: 1\r\n" + spelt + ": 2\r\nB: 3\r\n")}
				if got := string(tr.appendLastChunk(nil, &hopOptions{key: "x-api-key", told: "cf-connecting-ip"})); got != "0\r\nA: 1\r\nB: 3\r\n\r\n" {
					t.Fatalf("%s: got %q", spelt, got)
				}
			}
		}
	}
}

// A large body leaves no room for its trailers in the buffer that it is copied in.
func TestTrailersBehindLargeBodies(t *testing.T) {
	want := section(maxTrailers)
	for _, size := range []int{0, 1, outSize, streamBufferSize - chunkOverhead, streamBufferSize, 3 * streamBufferSize} {
		in := string(appendChunk(randomBytes(size), 0))
		if size == 0 {
			in = ""
		}
		x := &exchange{out: make([]byte, 0, outSize)}
		x.response.body = newBody(newInbound(newPieces(in+"0\r\n"+want+"\r\n")), chunked, 0, time.Second)
		var out []byte
		for !x.response.body.ended {
			b, err := x.nextBody(make([]byte, 0, streamBufferSize))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b...)
		}
		b := newBody(newInbound(newPieces(string(out))), chunked, 0, time.Second)
		content, err := readAll(&b, 4096)
		if err != nil || content != string(randomBytes(size)) || string(b.trailers.block) != want {
			t.Errorf("%d bytes: %v, got %d and %d bytes of trailers", size, err, len(content), len(b.trailers.block))
		}
	}
}
