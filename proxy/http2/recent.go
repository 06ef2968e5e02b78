package http2

import "slices"

// recent holds the streams that were reset last. Frames that were on their way to them are ignored;
// to another stream that has ended, they break the rules (RFC 9113, section 5.1).
type recent struct {
	ids  []uint32 // a ring once it is full
	next int
}

// maxRecent is enough for all streams of a connection to be reset at once.
const maxRecent = maxStreams

func (r *recent) add(id uint32) {
	if len(r.ids) < maxRecent {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % maxRecent
}

func (r *recent) has(id uint32) bool { return slices.Contains(r.ids, id) }
