package top

// style is how a text stands out. Colour is never the only sign: the text itself says the same.
type style string

const (
	bold   style = "1"
	faint  style = "2"
	marked style = "7" // reversed
	good   style = "32"
	warn   style = "33"
	bad    style = "1;31"
)

// on returns a text in the style.
func (s style) on(text string) string {
	if s == "" || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}
