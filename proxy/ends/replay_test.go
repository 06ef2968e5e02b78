package ends

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// textBody is a body that comes in pieces of at most 5,000 bytes, and breaks off where its text is
// shorter than its size.
type textBody struct {
	text []byte
	left int
}

func (b *textBody) ReadBody(dst []byte) ([]byte, error) {
	if len(b.text) == 0 && b.left > 0 {
		return dst, io.ErrUnexpectedEOF
	}
	n := min(5_000, cap(dst)-len(dst), len(b.text))
	dst = append(dst, b.text[:n]...)
	b.text, b.left = b.text[n:], b.left-n
	return dst, nil
}

func (b *textBody) HasReadBody() bool               { return b.left == 0 }
func (*textBody) Proceed() reason.Code              { return reason.None }
func (*textBody) BodyTrailers() *message.Trailers   { return nil }
func (*textBody) Unread(error) (reason.Code, error) { return reason.ClientGone, nil }
func (*textBody) SetBodyTimeout(time.Duration)      {}
func (*textBody) StopBody()                         {}
func (*textBody) ResumeBody()                       {}

// sendAgain reads a body through what is kept of it, n bytes at most, and returns them.
func sendAgain(t *testing.T, k *Replay, b Incoming, n int) (got []byte) {
	t.Helper()
	k.Rewind()
	for !k.Ended(b) && len(got) < n {
		piece, err := k.Next(b, make([]byte, 0, min(20_000, n-len(got))))
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
		{BufferSize, BufferSize, false},
		{BufferSize + 1, BufferSize, false},
		{BufferSize + 1, BufferSize + 1, true},
		{1 << 20, BufferSize, false},
		{1 << 20, 100_000, true},
	} {
		t.Run(fmt.Sprintf("%d of %d", test.taken, test.size), func(t *testing.T) {
			want := make([]byte, test.size)
			_, _ = rand.NewChaCha8([32]byte{}).Read(want)
			b := &textBody{want, test.size}
			k := &Replay{}
			if got := sendAgain(t, k, b, test.taken); !bytes.Equal(got, want[:test.taken]) {
				t.Fatalf("%d bytes in the first try, want %d", len(got), test.taken)
			}
			if k.lost != test.lost || k.lost && k.buf != nil {
				t.Fatalf("lost: %v, want %v; has a buffer: %v", k.lost, test.lost, k.buf != nil)
			}
			if !test.lost {
				if got := sendAgain(t, k, b, 2<<20); !bytes.Equal(got, want) {
					t.Errorf("%d bytes in the second try, want all %d", len(got), len(want))
				}
			}
			if k.Release(); k.buf != nil {
				t.Error("the buffer was not given back")
			}
		})
	}
}

// TestKeptBodyAfterAnError keeps what came before it.
func TestKeptBodyAfterAnError(t *testing.T) {
	b := &textBody{[]byte("half"), 8}
	k := &Replay{}
	if got := sendAgain(t, k, b, 4); string(got) != "half" {
		t.Fatalf("got %q", got)
	}
	for range 2 {
		k.Rewind()
		if got, err := k.Next(b, make([]byte, 0, 100)); string(got) != "half" || err != nil {
			t.Errorf("got %q, %v, want what was kept", got, err)
		}
		if got, err := k.Next(b, make([]byte, 0, 100)); len(got) > 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("got %q, %v, want the error again", got, err)
		}
	}
}

// TestLoseGivesTheBufferBack also where the whole of a body was read before, once it was sent.
func TestLoseGivesTheBufferBack(t *testing.T) {
	for _, whole := range []bool{false, true} {
		var budget Budget
		budget.Set(100)
		b := &textBody{[]byte("body"), 4}
		k := &Replay{}
		if whole {
			if !budget.Take(4) || k.fill(b, 4, &budget) != nil {
				t.Fatal("the body was not read")
			}
			if k.Lose(); k.buf == nil {
				t.Error("a body that was not sent yet is gone")
			}
		}
		if got := sendAgain(t, k, b, 4); string(got) != "body" {
			t.Errorf("got %q", got)
		}
		if k.Lose(); k.buf != nil || budget.used.Load() != 0 {
			t.Errorf("whole: %v: has a buffer: %v, %d bytes of the budget are taken", whole, k.buf != nil, budget.used.Load())
		}
	}
}
