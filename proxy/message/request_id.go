package message

// MaxID is the most bytes of a request's ID.
const MaxID = 128

// noteID records the value of an X-Request-Id. Only the first one counts, and only if it has from 1
// to MaxID visible ASCII characters: servers write it into their logs.
func (f *Forwarded) noteID(value []byte) {
	if !f.hasID && isID(value) {
		f.ID = value
	}
	f.hasID = true
}

func isID(value []byte) bool {
	for _, c := range value {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(value) > 0 && len(value) <= MaxID
}

// AppendID appends an X-Request-Id.
func AppendID(dst, id []byte) []byte { return appendField(dst, "X-Request-Id: ", id) }
