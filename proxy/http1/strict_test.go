package http1

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"loadbalancer/proxy/message"
)

// What stands in this file reads messages by the letter of RFC 9112 and shares no code with the
// proxy: it is what the next hop may be at its strictest.

// strictMessage is what strictParse finds.
type strictMessage struct {
	start     string // the request or status line
	hosts     []string
	lengths   []string
	codings   []string
	disguised []string       // names that are one of these to a reader of _ as -
	fields    map[string]int // how many, by name in lower case
	lines     []string       // the fields as they came
}

// strictParse reads the whole header of a request.
func strictParse(header string) (strictMessage, error) { return strictHeader(header, noControl) }

// noControl has the bytes that no request may have, and forbidden those that no response may: what
// it has of others is odd, but can be read in one way.
const (
	noControl = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\n\x0b\x0c\r\x0e\x0f" +
		"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
	forbidden = "\x00\r\n"
)

// strictHeader reads a whole header that has none of the bytes that are not allowed.
func strictHeader(header, notAllowed string) (strictMessage, error) {
	m := strictMessage{fields: map[string]int{}}
	body, ok := strings.CutSuffix(header, "\r\n\r\n")
	if !ok {
		return m, fmt.Errorf("no end of the header in %q", header)
	}
	for i, line := range strings.Split(body, "\r\n") {
		if strings.ContainsAny(line, notAllowed) {
			return m, fmt.Errorf("a control byte in %q", line)
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
		m.note(line, strings.ToLower(name), strings.Trim(value, " \t"))
	}
	return m, nil
}

func (m *strictMessage) note(line, name, value string) {
	m.lines = append(m.lines, line)
	m.fields[name]++
	switch name {
	case "host":
		m.hosts = append(m.hosts, value)
	case "content-length":
		m.lengths = append(m.lengths, value)
	case "transfer-encoding":
		m.codings = append(m.codings, value)
	}
	switch strings.ReplaceAll(name, "_", "-") {
	case name:
	case "host", "content-length", "transfer-encoding", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-request-id", "cf-connecting-ip":
		m.disguised = append(m.disguised, name)
	}
}

// framed reports whether there is at most one field that frames the body, and whether that one can
// be read in one way.
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
		if !strings.EqualFold(v, "chunked") {
			return fmt.Errorf("Transfer-Encoding %q", v)
		}
	}
	return nil
}

const (
	tokenPattern = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	textPattern  = `[\t -~]|[^\x00-\x7f]` // also each byte that is no UTF-8
)

var (
	requestLine = regexp.MustCompile(`^(` + tokenPattern + `) ([!"$-~]+) HTTP/1\.([01])$`)
	statusLine  = regexp.MustCompile(`^HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?$`)
	chunkLine   = regexp.MustCompile(`^([0-9A-Fa-f]{1,15})((?:[ \t]*;[ \t]*` + tokenPattern +
		`(?:[ \t]*=[ \t]*(?:` + tokenPattern + `|"(?:[\t !#-\[\]-~]|[^\x00-\x7f]|\\(?:` + textPattern + `))*"))?)*[ \t]*)$`)
	trailerLine = regexp.MustCompile(`^` + tokenPattern + `:(?:` + textPattern + `)*$`)
	oddTrailer  = regexp.MustCompile(`^` + tokenPattern + `:[^\x00\r\n]*$`) // of a response
)

// absoluteForm takes scheme, host, port and what follows out of a target.
var absoluteForm = regexp.MustCompile(`^(?i:(http)|https)://([^/?@:\[]+|\[[^/?@]+\])(?::([0-9]*))?([/?].*)?$`)

// strictTarget returns the target in origin-form and the authority of a request with this Host, ""
// for none. ok is false where the two differ, or the target can be read in more than one way.
func strictTarget(method, target, host string) (path, authority string, ok bool) {
	if strings.HasPrefix(target, "/") || target == "*" && method == "OPTIONS" {
		return target, host, true
	}
	part := absoluteForm.FindStringSubmatch(target)
	if part == nil {
		return "", "", false
	}
	port, path := "443", part[4]
	if part[1] != "" {
		port = "80"
	}
	switch {
	case path == "" && method == "OPTIONS":
		path = "*"
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	authority = part[2]
	if part[3] != "" {
		authority += ":" + part[3]
	}
	if host == "" {
		scheme, _, _ := strings.Cut(target, "://")
		authority, _, _ = strings.Cut(strings.SplitN(target[len(scheme)+3:], "/", 2)[0], "?")
		return path, authority, true
	}
	ofHost := func(a string) string {
		return strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(a), ":"+port), ":")
	}
	return path, host, ofHost(authority) == ofHost(host)
}

// strictBody is a chunked body, decoded.
type strictBody struct {
	content  string
	trailers []string // the lines
	rest     string   // what stands behind the body
}

// strictChunked reads a chunked body within the bounds that this proxy sets, with trailers of this
// form. ok is false where it is broken or has no end; content is then what came before.
func strictChunked(in string, trailer *regexp.Regexp) (b strictBody, ok bool) {
	extensions := 0
	for {
		line, rest, ok := strictLine(in)
		chunk := chunkLine.FindStringSubmatch(line)
		if !ok || chunk == nil || len(chunk[2]) > maxExtension {
			return b, false
		}
		if strings.Trim(chunk[2], " \t") != "" {
			extensions += len(chunk[2])
		} else if len(line) > 16 {
			extensions += len(line) - 16
		}
		if extensions > maxExtensions {
			return b, false
		}
		size, err := strconv.ParseInt(chunk[1], 16, 64)
		if err != nil {
			return b, false
		}
		if in = rest; size == 0 {
			break
		}
		b.content += in[:min(size, int64(len(in)))]
		if in, ok = strings.CutPrefix(in[min(size, int64(len(in))):], "\r\n"); !ok {
			return b, false
		}
	}
	for section := 0; ; {
		line, rest, ok := strictLine(in)
		if in = rest; !ok || line == "" {
			b.rest = rest
			return b, ok
		}
		section += len(line) + 2
		if b.trailers = append(b.trailers, line); len(b.trailers) > message.MaxFields || section > message.MaxTrailers || !trailer.MatchString(line) {
			return b, false
		}
	}
}

// strictLine takes a line of at most maxLine bytes, CRLF and all, off the input.
func strictLine(in string) (line, rest string, ok bool) {
	line, rest, ok = strings.Cut(in, "\n")
	if !ok || len(line) > maxLine {
		return "", "", false
	}
	line, ok = strings.CutSuffix(line, "\r")
	return line, rest, ok
}

// strictAnswer is one final response.
type strictAnswer struct {
	strictMessage
	strictBody
	status     int
	untilClose bool // nothing but the end of the connection tells the end of the body
	whole      bool // the body came to its end
}

// strictResponse reads a response to its end, past the interim ones.
func strictResponse(in string, head bool) (strictAnswer, error) {
	end := strings.Index(in, "\r\n\r\n") + 4
	if end < 4 {
		return strictAnswer{}, fmt.Errorf("no header in %q", in)
	}
	m, err := strictHeader(in[:end], forbidden)
	if err == nil {
		err = m.framed()
	}
	start := statusLine.FindStringSubmatch(m.start)
	if err != nil || start == nil {
		return strictAnswer{}, fmt.Errorf("%w in the header %q", err, in[:end])
	}
	a := strictAnswer{strictMessage: m}
	a.status, _ = strconv.Atoi(start[2])
	in = in[end:]
	switch {
	case a.status < 200 && a.announces():
		return strictAnswer{}, fmt.Errorf("a body is announced in the interim response %q", m.start)
	case a.status < 200:
		return strictResponse(in, head)
	case head || a.status == 204 || a.status == 304:
		a.rest, a.whole = in, true
	case len(m.codings) == 1:
		a.strictBody, a.whole = strictChunked(in, oddTrailer)
	case len(m.lengths) == 1:
		length, err := strconv.ParseInt(m.lengths[0], 10, 64)
		if a.whole = err == nil && length <= int64(len(in)); a.whole {
			a.content, a.rest = in[:length], in[length:]
		}
	default:
		a.content, a.untilClose, a.whole = in, true, true
	}
	return a, nil
}

// announces reports whether the header says that there is a body, of at least a byte or in chunks.
func (a *strictAnswer) announces() bool {
	return len(a.codings) > 0 || len(a.lengths) > 0 && strings.Trim(a.lengths[0], "0") != ""
}

// mayServeOn reports whether nothing may come behind the response that a backend could have meant
// for its body.
func (a *strictAnswer) mayServeOn(head bool) bool {
	switch {
	case a.status == 204 || a.status == 304:
		return !a.announces()
	case head:
		return len(a.lengths) > 0 && !a.announces()
	}
	return !a.untilClose && !(strings.HasPrefix(a.start, "HTTP/1.0 ") && len(a.codings) > 0)
}

var emptyLine = regexp.MustCompile(`(?m)^\r?\n`)

// inOneForm writes a backend's response as the next hop may get it: lines end in CRLF, and a length
// stands once, in as far as all that stand say the same.
func inOneForm(in string) string {
	end := emptyLine.FindStringIndex(in)
	if end == nil {
		return in
	}
	header, rest := in[:end[0]], in[end[1]:]
	var all, fields []string
	first := -1
	for line := range strings.Lines(header) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Content-Length") {
			for length := range strings.SplitSeq(value, ",") {
				all = append(all, strings.Trim(length, " \t"))
			}
			if first < 0 {
				first = len(fields)
				fields = append(fields, name+": "+all[0])
			}
			continue
		}
		fields = append(fields, line)
	}
	for _, length := range all {
		if length != all[0] {
			return "lengths that differ: " + in
		}
	}
	header = strings.Join(fields, "\r\n") + "\r\n\r\n"
	if len(fields) > 0 && strings.HasPrefix(fields[0][min(9, len(fields[0])):], "1") {
		rest = inOneForm(rest) // behind an interim response
	}
	return header + rest
}
