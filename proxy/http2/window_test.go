package http2

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestInbox puts and takes pieces of many sizes. What comes out is what went in, the client never
// may send more than is held, and gets its window back.
func TestInbox(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var b inbox
	for round := range 50 {
		b.reset()
		var in, out []byte
		client, most := streamWindow, streamWindow // what it may send
		for i := range 400 {
			if i == 200 && round%2 == 0 {
				client, most = client+b.widen(), wideWindow
			}
			if n := min(client, r.IntN(maxFrameSize)); r.IntN(2) == 0 {
				piece := make([]byte, n)
				for i := range piece {
					piece[i] = byte(len(in) + i)
				}
				if !b.arrive(n) {
					t.Fatalf("%d bytes are refused to a client that may send %d", n, client)
				}
				b.put(piece)
				client -= n
				in = append(in, piece...)
				continue
			}
			dst := make([]byte, 3, 3+r.IntN(20_000))
			dst, more := b.take(dst)
			out = append(out, dst[3:]...)
			client += more
			if b.w-b.r != len(in)-len(out) || client > most-(b.w-b.r) {
				t.Fatalf("%d bytes are held of %d, and %d may come", b.w-b.r, len(in)-len(out), client)
			}
			if b.empty() && (b.large != nil || b.wide != nil) {
				t.Fatal("an empty inbox holds a large buffer")
			}
		}
		rest, _ := b.take(make([]byte, 0, wideWindow))
		if !bytes.Equal(in, append(out, rest...)) {
			t.Fatal("other bytes came out than went in")
		}
	}
	b.reset()
	if b.arrive(streamWindow + 1) {
		t.Error("more than the window is taken")
	}
	b.reset()
	if b.put(make([]byte, firstSize)); b.large != nil {
		t.Errorf("a large buffer is taken for %d bytes", firstSize)
	}
}

func TestWiden(t *testing.T) {
	for _, test := range []struct {
		from, by int64
		ok       bool
	}{{0, 1, true}, {0, maxWindow, true}, {1, maxWindow, false}, {maxWindow, 0, true}, {-5, 5, true}, {100, -200, true}} {
		window := test.from
		if ok := widen(&window, test.by); ok != test.ok || window != test.from+test.by {
			t.Errorf("%d and %d more: %d, %v", test.from, test.by, window, ok)
		}
	}
}

func TestRecent(t *testing.T) {
	var r recent
	for id := uint32(1); id < 2000; id += 2 {
		r.add(id)
		if !r.has(id) || r.has(id+2) || r.has(id-2*maxRecent) || id > 2*maxRecent && !r.has(id-2*maxRecent+2) {
			t.Fatalf("%d was added: %v", id, r.ids)
		}
	}
}
