package http2

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// line is a field that can be read in one way, in lower case.
var line = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9a-z-]+): ([^\\x00-\\x08\\x0a-\\x1f\\x7f]*)$")

// FuzzList gives the reader of header lists any bytes as a block, in two parts. What passes it and
// the guard is a block of lines that holds the fields of the list, which HPACK's own decoder reads,
// in their order, behind at most one Host; none is about the connection.
func FuzzList(f *testing.F) {
	for _, fields := range [][]string{
		get(), get("cookie: a", "x: y", "cookie: b"), get("host: a", "content-length: 5"), get("te: trailers", "x: \x80"), get("transfer-encoding: chunked"),
		get("a: b\r\nc: d"), {":method: CONNECT", ":authority: a"}, get(":path: /"), get("A: b"), get("x-forwarded-for: 1.2.3.4", "cookie: ", "cookie: "),
	} {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for _, line := range fields {
			at := 1 + strings.Index(line[1:], ": ")
			_ = e.WriteField(hpack.HeaderField{Name: line[:at], Value: line[at+2:]})
		}
		f.Add(block.Bytes(), uint16(block.Len()/2), true)
	}
	f.Fuzz(func(t *testing.T, block []byte, cut uint16, ends bool) {
		const most = 4000
		var h headerReader
		h.init(most)
		h.list.begin(nil)
		at := min(int(cut), len(block))
		if h.take(block[:at]) != nil || h.take(block[at:]) != nil || h.close() != nil {
			return
		}
		s := newStream()
		defer s.free()
		s.take(&h.list)
		if len(s.header) > 2*most {
			t.Fatalf("%d bytes are held", len(s.header))
		}
		if s.refused != reason.None {
			return
		}
		r := &s.Request
		r.Proto, r.HTTP2, r.Open = protocol, true, !ends
		header := string(r.Header)
		if r.Guard(&message.Rules{}) != reason.None {
			return
		}
		fields, err := hpack.NewDecoder(tableSize, nil).DecodeFull(block)
		if err != nil {
			t.Fatalf("%x: HPACK's own decoder: %v", block, err)
		}
		if want := rendered(t, fields); header != want {
			t.Errorf("%q was rendered as\n%q, want\n%q", fields, header, want)
		}
		hosts := 0
		for l := range strings.SplitSeq(strings.TrimSuffix(header, "\r\n"), "\r\n") {
			m := line.FindStringSubmatch(l)
			if m == nil {
				t.Fatalf("%q is no field", l)
			}
			switch m[1] {
			case "host":
				hosts++
			case "connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection":
				t.Errorf("%q is about the connection", l)
			}
		}
		if hosts != 1 || !message.Token.HasAll(r.Method) || !message.Target.HasAll(r.Target) || len(r.Target) == 0 {
			t.Errorf("%d hosts in %s %s\n%q", hosts, r.Method, r.Target, header)
		}
		if ends && r.Framing != message.NoBody {
			t.Errorf("a request that ends with its header announces a body: %q", header)
		}
	})
}

// rendered renders a list in the obvious way.
func rendered(t *testing.T, fields []hpack.HeaderField) string {
	t.Helper()
	var lines, cookies []string
	authority, cookieAt := "", -1
	for _, f := range fields {
		switch {
		case f.Name == ":authority":
			authority = f.Value
		case f.IsPseudo():
		case f.Name == "cookie":
			if cookieAt < 0 {
				cookieAt = len(lines)
				lines = append(lines, "")
			}
			cookies = append(cookies, f.Value)
		case f.Name == "host" && f.Value != "" && strings.EqualFold(f.Value, authority):
		default:
			lines = append(lines, f.Name+": "+f.Value+"\r\n")
		}
	}
	if cookieAt >= 0 {
		lines[cookieAt] = "cookie: " + strings.Join(cookies, "; ") + "\r\n"
	}
	if authority != "" {
		lines = append([]string{"host: " + authority + "\r\n"}, lines...)
	}
	return strings.Join(lines, "")
}
