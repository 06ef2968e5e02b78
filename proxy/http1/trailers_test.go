package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// chunkedUpTo makes a body of one-byte chunks whose extensions add up to the bytes given.
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
	if _, _, err := decode(newPieces(chunkedUpTo(maxExtensions)), message.Chunked, 0, 4096); err != nil {
		t.Errorf("%d bytes: %v", maxExtensions, err)
	}
	if _, _, err := decode(newPieces(chunkedUpTo(maxExtensions+1)), message.Chunked, 0, 4096); !errors.Is(err, errChunk) {
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
		if _, _, err := decode(newPieces(padded(test.width, test.chunks)), message.Chunked, 0, 4096); !errors.Is(err, test.want) {
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
		{"bytes", section(message.MaxTrailers), true},
		{"one byte more", section(message.MaxTrailers + 1), false},
		{"fields", strings.Repeat("A: b\r\n", message.MaxFields), true},
		{"one field more", strings.Repeat("A: b\r\n", message.MaxFields+1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBody(newInbound(newPieces("0\r\n"+test.section+"\r\n", 5000)), message.Chunked, 0, time.Second)
			_, err := readAll(&b, 16)
			if (err == nil) != test.fits || err != nil && !errors.Is(err, errChunk) {
				t.Fatalf("got %v, want it taken: %v", err, test.fits)
			}
			if got := trailersOf(&b); test.fits && got != test.section {
				t.Errorf("kept %d bytes, want %d", len(got), len(test.section))
			}
		})
	}
}

// A large body leaves no room for its trailers in the buffer that it is copied in.
func TestTrailersBehindLargeBodies(t *testing.T) {
	want := section(message.MaxTrailers)
	for _, size := range []int{0, 1, outSize, streamBufferSize - chunkOverhead, streamBufferSize, 3 * streamBufferSize} {
		in := string(appendChunk(randomBytes(size), 0))
		if size == 0 {
			in = ""
		}
		client := newPieces("")
		c, err := readResponse(newPieces(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")+in+"0\r\n"+want+"\r\n"), message.Request{})
		if err != nil {
			t.Fatal(err)
		}
		s := c.stream.ClientEnd.(*Stream)
		s.conn, s.activity = newTestConn(client), new(activity)
		if why := relay(s, c); why != reason.None {
			t.Fatalf("%d bytes: %s", size, why)
		}
		_, out, _ := strings.Cut(string(client.written), "\r\n\r\n")
		b := newBody(newInbound(newPieces(out)), message.Chunked, 0, time.Second)
		content, err := readAll(&b, 4096)
		if err != nil || content != string(randomBytes(size)) || trailersOf(&b) != want {
			t.Errorf("%d bytes: %v, got %d and %d bytes of trailers", size, err, len(content), len(trailersOf(&b)))
		}
	}
}

// trailersOf returns the trailers that b has read, of which none may end at this hop.
func trailersOf(b *body) string {
	return string((&message.Request{}).AppendTrailers(nil, &b.trailers))
}
