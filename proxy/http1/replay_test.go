package http1

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"loadbalancer/proxy/message"
)

// sendAgain reads a body through what is kept of it, n bytes at most, and returns them.
func sendAgain(t *testing.T, k *replay, b *body, n int) (got []byte) {
	t.Helper()
	k.rewind()
	for !k.ended(b) && len(got) < n {
		piece, err := k.next(b, make([]byte, 0, min(20_000, n-len(got))))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, piece...)
	}
	return got
}

// TestKeptBody reads a body for a part of it, and then all of it.
func TestKeptBody(t *testing.T) {
	for _, test := range []struct {
		size, taken int
		lost        bool
	}{
		{0, 0, false},
		{1, 1, false},
		{40 << 10, 0, false},
		{40 << 10, 1, false},
		{40 << 10, 30_000, false},
		{40 << 10, 40 << 10, false},
		{streamBufferSize, streamBufferSize, false},
		{streamBufferSize + 1, streamBufferSize, false},
		{streamBufferSize + 1, streamBufferSize + 1, true},
		{1 << 20, streamBufferSize, false},
		{1 << 20, 100_000, true},
	} {
		for _, framing := range []message.Framing{message.FixedLength, message.Chunked} {
			t.Run(fmt.Sprintf("%d of %d, framing %d", test.taken, test.size, framing), func(t *testing.T) {
				want := randomBytes(test.size)
				sent := string(want)
				if framing == message.Chunked {
					sent = inChunks(want)
				}
				b := newBody(newInbound(newPieces(sent)), framing, int64(test.size), time.Minute)
				k := &replay{}
				if got := sendAgain(t, k, &b, test.taken); !bytes.Equal(got, want[:test.taken]) {
					t.Fatalf("%d bytes in the first try, want %d", len(got), test.taken)
				}
				if k.lost != test.lost || k.lost && k.buf != nil {
					t.Fatalf("lost: %v, want %v; has a buffer: %v", k.lost, test.lost, k.buf != nil)
				}
				if !test.lost {
					if got := sendAgain(t, k, &b, 2<<20); !bytes.Equal(got, want) {
						t.Errorf("%d bytes in the second try, want all %d", len(got), len(want))
					}
				}
				if k.release(); k.buf != nil {
					t.Error("the buffer was not given back")
				}
			})
		}
	}
}

// TestKeptBodyAfterAnError keeps what came before it.
func TestKeptBodyAfterAnError(t *testing.T) {
	b := newBody(newInbound(newPieces("half")), message.FixedLength, 8, time.Minute)
	k := &replay{}
	if got := sendAgain(t, k, &b, 4); string(got) != "half" {
		t.Fatalf("got %q", got)
	}
	for range 2 {
		k.rewind()
		if got, err := k.next(&b, make([]byte, 0, 100)); string(got) != "half" || err != nil {
			t.Errorf("got %q, %v, want what was kept", got, err)
		}
		if got, err := k.next(&b, make([]byte, 0, 100)); len(got) > 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("got %q, %v, want the error again", got, err)
		}
	}
}
