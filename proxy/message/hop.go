package message

import "bytes"

// lists reports whether a list, such as the value of a Connection field, has the name.
func lists(list, name []byte) bool {
	for len(list) > 0 {
		var token []byte
		token, list, _ = bytes.Cut(list, comma)
		if token = trimSpace(token); len(token) == len(name) && bytes.EqualFold(token, name) {
			return true
		}
	}
	return false
}

// hop is what a message says about this hop alone: the Connection fields that name other fields. A
// message with more than it can hold is refused: real ones have few, and each field of the message
// is compared with each name.
type hop struct {
	Own
	values [4][]byte
	n      int
	size   int      // bytes of all values
	own    FieldSet // fields that this hop writes in place of the message's
	edit   *Edit    // likewise, those that the route changes
	key    string   // name of the API key field, in lower case; "" if there is none
}

// maxHopValues bounds the values that hop holds, in bytes.
const maxHopValues = 512

// add records a Connection field. ok is false if there are too many.
func (h *hop) add(value []byte) (ok bool) {
	if isPlainConnection(value) {
		return true
	}
	if h.size += len(value); h.n == len(h.values) || h.size > maxHopValues {
		return false
	}
	h.values[h.n] = value
	h.n++
	return true
}

// keep copies the values, so that they outlive the message's buffer.
func (h *hop) keep() {
	for i, value := range h.values[:h.n] {
		h.values[i] = bytes.Clone(value)
	}
}

// isPlainConnection reports whether a Connection value is close or keep-alive, as nearly all are,
// and names no field.
func isPlainConnection(value []byte) bool {
	return len(value) == 5 && equalFold(value, "close") || len(value) == 10 && equalFold(value, "keep-alive")
}

// names reports whether one of the Connection fields lists the name.
func (h *hop) names(name []byte) bool {
	for _, v := range h.values[:h.n] {
		if lists(v, name) {
			return true
		}
	}
	return false
}

// drops reports whether the field ends at this hop: a Connection field names it, this hop writes
// its own, so that the recipient gets only one, or the route removes it. Connection cannot remove a
// field that frames, routes or authorises a message, that identifies its sender, or that says it may
// be repeated: a client must not be able to strip those.
func (h *hop) drops(f *field) bool {
	return h.n > 0 && (f.kind.ordinary() || f.kind == kindTrailer) && h.names(f.name) && !h.keeps(f.name) ||
		h.own.has(f.kind) || h.isSubject(f.name) || h.edit != nil && h.edit.drops(f.name)
}

// keeps reports whether the name is that of a field that identifies the client, or differs from it
// only in _ and -.
func (h *hop) keeps(name []byte) bool { return h.isKey(name) || h.isClientField(name) }

// isKey reports whether the name is that of the API key field, or differs from it only in _ and -.
func (h *hop) isKey(name []byte) bool {
	return len(name) == len(h.key) && equalDashed(name, h.key)
}

var comma = []byte(",")
