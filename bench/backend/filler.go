package backend

import (
	"bytes"
	"io"
)

// filling follows the label in every body longer than the label: lines of 64 bytes, repeated.
var filling = bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog 0123456789 ABCDEFGH\n"), 512)

// filler reads as a body of a given size: the label, then lines of filling. It holds no body in
// memory. It is for one reader at a time.
type filler struct {
	label []byte
	size  int64
	pos   int64 // bytes read so far
}

func newFiller(label []byte, size int64) *filler {
	return &filler{label: label, size: size}
}

// Read implements io.Reader.
func (f *filler) Read(p []byte) (int, error) {
	n := copy(p, f.next())
	f.pos += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// WriteTo implements io.WriterTo: it writes blocks without copying them.
func (f *filler) WriteTo(w io.Writer) (int64, error) {
	begun := f.pos
	for f.pos < f.size {
		n, err := w.Write(f.next())
		f.pos += int64(n)
		if err != nil {
			return f.pos - begun, err
		}
	}
	return f.pos - begun, nil
}

// next returns the bytes that follow, as many as are contiguous in memory. It is empty at the end.
func (f *filler) next() []byte {
	block, at := f.label, f.pos
	if past := f.pos - int64(len(f.label)); past >= 0 {
		block, at = filling, past%int64(len(filling))
	}
	block = block[at:]
	return block[:min(int64(len(block)), f.size-f.pos)]
}
