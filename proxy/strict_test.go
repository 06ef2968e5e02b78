package proxy

import (
	"fmt"
	"strings"
)

// strictMessage is what strictParse finds.
type strictMessage struct {
	start   string // the request or status line
	hosts   []string
	lengths []string
	codings []string
	fields  map[string]int // how many, by name in lower case
}

// strictParse reads one whole header by the letter of RFC 9112 and shares no code
// with the proxy: it is what the next server may be at its strictest.
func strictParse(header string) (strictMessage, error) {
	m := strictMessage{fields: map[string]int{}}
	body, ok := strings.CutSuffix(header, "\r\n\r\n")
	if !ok {
		return m, fmt.Errorf("no end of the header in %q", header)
	}
	for i, line := range strings.Split(body, "\r\n") {
		for _, c := range []byte(line) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return m, fmt.Errorf("a control byte in %q", line)
			}
		}
		if i == 0 {
			m.start = line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return m, fmt.Errorf("no field: %q", line)
		}
		for _, c := range []byte(name) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
				return m, fmt.Errorf("the byte %q in the name %q", c, name)
			}
		}
		value = strings.Trim(value, " \t")
		name = strings.ToLower(name)
		m.fields[name]++
		switch strings.ReplaceAll(name, "_", "-") { // as CGI reads it
		case "host":
			m.hosts = append(m.hosts, value)
		case "content-length":
			m.lengths = append(m.lengths, value)
		case "transfer-encoding":
			m.codings = append(m.codings, value)
		}
	}
	return m, nil
}

// framed reports whether there is at most one field that frames the body, and
// whether that one can be read in one way.
func (m *strictMessage) framed() error {
	if len(m.lengths)+len(m.codings) > 1 {
		return fmt.Errorf("Content-Length %q beside Transfer-Encoding %q", m.lengths, m.codings)
	}
	for _, v := range m.lengths {
		if v == "" || strings.Trim(v, "0123456789") != "" {
			return fmt.Errorf("Content-Length %q", v)
		}
	}
	for _, v := range m.codings {
		if v != "chunked" {
			return fmt.Errorf("Transfer-Encoding %q", v)
		}
	}
	return nil
}
