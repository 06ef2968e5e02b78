package http2

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/mux"
)

// inWords returns fields as `name: value` lines, those that go into no table with a mark.
func inWords(fields []hpack.HeaderField) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s", f.Name, f.Value)
		if f.Sensitive {
			b.WriteString(" (secret)")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestAppendRequest(t *testing.T) {
	for _, test := range []struct {
		name, block string
		secure      bool
		want        string
	}{
		{"least", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, ":method: GET\n:scheme: http\n:path: /\n:authority: a\n"},
		{
			"order, case and connection", "POST /a?b=c HTTP/1.1\r\nX-B: 1\r\nHost: a.example:81\r\nx-a:2 \r\nX-B: 3\r\nTransfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n", true,
			":method: POST\n:scheme: https\n:path: /a?b=c\n:authority: a.example:81\nx-b: 1\nx-a: 2\nx-b: 3\nte: trailers\n",
		},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false, ":method: OPTIONS\n:scheme: http\n:path: *\n:authority: a\n"},
		{"the protocol in a path", "GET /HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", false, ":method: GET\n:scheme: http\n:path: /HTTP/1.1\n:authority: a\n"},
		{"empty value", "GET / HTTP/1.1\r\nHost: a\r\nX-A:\r\n\r\n", false, ":method: GET\n:scheme: http\n:path: /\n:authority: a\nx-a: \n"},
		{"credentials", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer b: c\r\n\r\n", false, ":method: GET\n:scheme: http\n:path: /\n:authority: a\nauthorization: Bearer b: c (secret)\n"},
	} {
		if got := inWords(appendRequest(nil, []byte(test.block), test.secure)); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestAppendResponse(t *testing.T) {
	type fields = []hpack.HeaderField
	length := fields{{Name: "content-length", Value: "5"}}
	for _, test := range []struct {
		name string
		of   mux.Header
		head bool
		want string // "": it is refused
	}{
		{"body", mux.Header{Status: 200, Fields: fields{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}}}, false, "HTTP/1.1 200\r\nb: 1\r\na: 2\r\ntransfer-encoding: chunked\r\n\r\n"},
		{"length", mux.Header{Status: 200, Fields: length}, false, "HTTP/1.1 200\r\ncontent-length: 5\r\n\r\n"},
		{"ends at once", mux.Header{Status: 404, Ends: true}, false, "HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n"},
		{"HEAD", mux.Header{Status: 200, Fields: length, Ends: true}, true, "HTTP/1.1 200\r\ncontent-length: 5\r\n\r\n"},
		{"HEAD without a length", mux.Header{Status: 200, Ends: true}, true, "HTTP/1.1 200\r\n\r\n"},
		{"204", mux.Header{Status: 204, Ends: true}, false, "HTTP/1.1 204\r\n\r\n"},
		{"304", mux.Header{Status: 304}, false, "HTTP/1.1 304\r\n\r\n"},
		{"interim", mux.Header{Status: 103, Fields: fields{{Name: "link", Value: "<a>"}}}, false, "HTTP/1.1 103\r\nlink: <a>\r\n\r\n"},
		{"connection", mux.Header{Status: 200, Fields: fields{{Name: "connection", Value: "close"}}}, false, ""},
		{"te", mux.Header{Status: 200, Fields: fields{{Name: "te", Value: "trailers"}}}, false, ""},
		{"transfer-encoding", mux.Header{Status: 200, Fields: fields{{Name: "transfer-encoding", Value: "chunked"}}}, false, ""},
	} {
		got, ok := appendResponse(nil, &test.of, test.head)
		if ok != (test.want != "") || ok && string(got) != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, ok, test.want)
		}
	}
}
