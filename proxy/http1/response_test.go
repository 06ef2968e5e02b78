package http1

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/wire"
)

func TestResponseHeader(t *testing.T) {
	for _, test := range []struct {
		name, in string
		head     bool
		status   int
		framing  message.Framing
		length   int64
		keep     bool
	}{
		{"fixed length", lines("HTTP/1.1 200 OK", "Content-Length: 5"), false, 200, message.FixedLength, 5, true},
		{"no length", lines("HTTP/1.1 200 OK"), false, 200, message.UntilClose, 0, false},
		{"length of 0", lines("HTTP/1.1 200 OK", "Content-Length: 0"), false, 200, message.FixedLength, 0, true},
		{"chunked", lines("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked"), false, 200, message.Chunked, 0, true},
		{"no phrase", lines("HTTP/1.1 404", "content-length:7 "), false, 404, message.FixedLength, 7, true},
		{"empty phrase", lines("HTTP/1.1 404 ", "Content-Length: 7"), false, 404, message.FixedLength, 7, true},
		{"8-bit phrase", lines("HTTP/1.1 200 d\u00e9j\u00e0 vu\t!", "Content-Length: 7"), false, 200, message.FixedLength, 7, true},
		{"HEAD", lines("HTTP/1.1 200 OK", "Content-Length: 5"), true, 200, message.NoBody, 5, false},
		{"HEAD of chunked", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), true, 200, message.NoBody, 0, false},
		{"HEAD without length", lines("HTTP/1.1 200 OK"), true, 200, message.NoBody, 0, false},
		{"HEAD of nothing", lines("HTTP/1.1 200 OK", "Content-Length: 0"), true, 200, message.NoBody, 0, true},
		{"HEAD, HTTP/1.0", lines("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: keep-alive"), true, 200, message.NoBody, 5, false},
		{"HEAD of nothing, HTTP/1.0", lines("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 0"), true, 200, message.NoBody, 0, true},
		{"HEAD, 304", lines("HTTP/1.1 304 Not Modified"), true, 304, message.NoBody, 0, true},
		{"HEAD, 304 with a length", lines("HTTP/1.1 304 Not Modified", "Content-Length: 5"), true, 304, message.NoBody, 5, false},
		{"204", lines("HTTP/1.1 204 No Content"), false, 204, message.NoBody, 0, true},
		{"204 with a length", lines("HTTP/1.1 204 No Content", "Content-Length: 5"), false, 204, message.NoBody, 5, false},
		{"204 with a length of 0", lines("HTTP/1.1 204 No Content", "Content-Length: 0"), false, 204, message.NoBody, 0, true},
		{"204 in chunks", lines("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"), false, 204, message.NoBody, 0, false},
		{"304", lines("HTTP/1.1 304 Not Modified"), false, 304, message.NoBody, 0, true},
		{"304 with a length", lines("HTTP/1.1 304 Not Modified", "Content-Length: 5", "Connection: keep-alive"), false, 304, message.NoBody, 5, false},
		{"304 in chunks", lines("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked"), false, 304, message.NoBody, 0, false},
		{"205 is like others", lines("HTTP/1.1 205 Reset Content"), false, 205, message.UntilClose, 0, false},
		{"close", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close"), false, 200, message.FixedLength, 5, false},
		{"HTTP/1.0 close, then keep-alive", lines("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: close", "Connection: keep-alive"), false, 200, message.FixedLength, 5, false},
		{"chunks of HTTP/1.0", lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), false, 200, message.Chunked, 0, false},
		{"chunks of HTTP/1.0 that stays", lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", "Connection: keep-alive"), false, 200, message.Chunked, 0, false},
		{"length twice", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"), false, 200, message.FixedLength, 5, true},
		{"length in lists", lines("HTTP/1.1 200 OK", "Content-Length: 5,5 ,\t5", "Content-Length: 5, 5"), false, 200, message.FixedLength, 5, true},
		{"above 599", lines("HTTP/1.1 600 Odd", "Content-Length: 5"), false, 600, message.FixedLength, 5, true},
		{"999", lines("HTTP/1.1 999"), false, 999, message.UntilClose, 0, false},
		{"lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", false, 200, message.FixedLength, 5, true},
		{"lines that end in LF and CRLF", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\r\n\n", false, 200, message.FixedLength, 5, true},
		{"the empty line ends in CRLF", "HTTP/1.1 204\n\r\n", false, 204, message.NoBody, 0, true},
		{"an interim response in LF", "HTTP/1.1 103 Early Hints\nLink: a\n\n" + lines("HTTP/1.1 200 OK", "Content-Length: 5"), false, 200, message.FixedLength, 5, true},
		{"close in a list", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: x-a , CLOSE"), false, 200, message.FixedLength, 5, false},
		{"close in one of two", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close", "Connection: keep-alive"), false, 200, message.FixedLength, 5, false},
		{"keep-alive", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: keep-alive"), false, 200, message.FixedLength, 5, true},
		{"HTTP/1.0", lines("HTTP/1.0 200 OK", "Content-Length: 5"), false, 200, message.FixedLength, 5, false},
		{"HTTP/1.0 keep-alive", lines("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: Keep-Alive"), false, 200, message.FixedLength, 5, true},
		{"HTTP/1.0 keep-alive without length", lines("HTTP/1.0 200 OK", "Connection: keep-alive"), false, 200, message.UntilClose, 0, false},
		{"100 first", lines("HTTP/1.1 100 Continue") + lines("HTTP/1.1 200 OK", "Content-Length: 5"), false, 200, message.FixedLength, 5, true},
		{"several interim ones", lines("HTTP/1.1 103 Early Hints", "Link: a", "Connection: close") + lines("HTTP/1.1 102 Processing") + lines("HTTP/1.1 204 Done"), false, 204, message.NoBody, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for cut := range len(test.in) {
				r, err := readResponse(newPieces(test.in+"hello", cut), message.Request{Head: test.head})
				if err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				if r.Response.Status != test.status || r.body.framing != test.framing || r.body.length != test.length || r.Response.Keep != test.keep {
					t.Fatalf("cut at %d: got status %d, framing %d, length %d, keep %v", cut, r.Response.Status, r.body.framing, r.body.length, r.Response.Keep)
				}
			}
		})
	}
}

func TestResponseHeaderRefuses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	for _, in := range []string{
		"\r\n" + lines(ok), lines("HTTP/1.1 200OK"), lines("HTTP/1.1 20 OK"), lines("HTTP/1.1 2000 OK"), lines("HTTP/1.1 099 OK"),
		lines("HTTP/1.1 +20 OK"), lines("HTTP/1.1  200 OK"), lines("HTTP/1.1 abc OK"), lines("HTTP/1.1 -20 OK"), lines("HTTP/1.1\t200 OK"),
		lines("HTTP/1.2 200 OK"), lines("HTTP/2.0 200 OK"), lines("HTTP/2 200 OK"), lines("http/1.1 200 OK"), lines("HTTP/1.12 200 OK"),
		lines("ICY 200 OK"), lines("HTTP/1.1"), lines("HTTP/1.1 200 O\x00K"), lines("HTTP/1.1 200 O\rK"), lines("HTTP/1.1 200\rK"),
		"\n" + lines(ok), "HTTP/1.1 200 OK\nA: b\n c\n\n", "HTTP/1.1 200 OK\n\x00\n\n", ok + "\rA: b\r\r", ok + "\r\nA: b\rC: d\r", ok + "\nA: b\r\r\n\n", lines("HTTP/1.1 000 OK"), lines(ok, "A : b"), lines(ok, "A b: c"), lines(ok, " A: b"),
		lines(ok, "A: b", " c"), lines(ok, "A"), lines(ok, ": a"), lines(ok, "A: \x00"), lines(ok, "A: b\rc"),
		lines(ok, "Content-Length: 5", "Content-Length: 6"), lines(ok, "Content-Length: 5, 6"), lines(ok, "Content-Length: 5, 05"), lines(ok, "Content-Length: +5"),
		lines(ok, "Content-Length: 5,"), lines(ok, "Content-Length: ,5"), lines(ok, "Content-Length: 5,,5"), lines(ok, "Content-Length: 5 5"), lines(ok, "Content-Length: 5", "Content-Length:"),
		lines(ok, "Content-Length: 5, 5", "Transfer-Encoding: chunked"),
		lines(ok, "Content-Length: -1"), lines(ok, "Content-Length:"), lines(ok, "Content-Length: 5a"), lines(ok, "Content-Length: 9999999999999999999"),
		lines(ok, "Content-Length: 5", "Transfer-Encoding: chunked"), lines(ok, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
		lines(ok, "Transfer-Encoding: gzip, chunked"), lines(ok, "Transfer-Encoding: identity"), lines(ok, "Transfer-Encoding:"),
		lines("HTTP/1.0 200 OK", "Transfer-Encoding: gzip"), lines("HTTP/1.0 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"),
		lines("HTTP/1.1 100 Continue", "Content-Length: 5") + lines(ok), lines("HTTP/1.1 103 Early Hints", "Transfer-Encoding: chunked") + lines(ok), lines("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"),
		lines("HTTP/1.1 100 Continue") + lines("nonsense"), lines(ok, strings.Repeat("Connection: x-a\r\n", 4)+"Connection: x-a"),
	} {
		for cut := range len(in) {
			if r, err := readResponse(newPieces(in, cut), message.Request{}); !errors.Is(err, errResponseHeader) {
				t.Fatalf("%q cut at %d: got status %d, %v, want %v", in, cut, r.Response.Status, err, errResponseHeader)
			}
		}
	}
}

// TestResponseHeaderSize reads headers around the sizes of the buffers and the limit, the body's
// first bytes behind them.
func TestResponseHeaderSize(t *testing.T) {
	for _, size := range []int{responseBufferSize - 1, responseBufferSize, responseBufferSize + 1, streamBufferSize - 1, streamBufferSize, streamBufferSize + 1, testMaxHeader, testMaxHeader + 1} {
		for _, interim := range []string{"", lines("HTTP/1.1 100 Continue")} {
			header := lines("HTTP/1.1 200 OK", "Content-Length: 5", "A: ")
			header = strings.Replace(header, "A: ", "A: "+strings.Repeat("a", size-len(header)), 1)
			c, err := readResponse(newPieces(interim+header+"hello", 100, 200), message.Request{})
			if large := size > testMaxHeader; large != errors.Is(err, errResponseSize) || !large && err != nil {
				t.Errorf("a header of %d bytes: %v", size, err)
			} else if !large {
				var body []byte
				for err == nil && !c.body.ended {
					body, err = c.body.next(slices.Grow(body, 5))
				}
				if string(body) != "hello" || err != nil {
					t.Errorf("a header of %d bytes: the body is %q, %v", size, body, err)
				}
			}
			if c.Reset(); len(c.in.buf) != responseBufferSize {
				t.Errorf("a buffer of %d bytes is kept", len(c.in.buf))
			}
		}
	}
}

// TestSmallResponseHeaderLimit holds also below the size of the buffer.
func TestSmallResponseHeaderLimit(t *testing.T) {
	header := lines("HTTP/1.1 204 No Content", "A: b")
	for _, most := range []int{len(header) - 1, len(header), len(header) + 1} {
		timed := wire.Over(newPieces(header + lines("HTTP/1.1 204 No Content")))
		c := &Call{stream: endOf(&Stream{Exchange: ends.Exchange{Limits: testLimits}}), conn: &timed}
		c.Init()
		c.limits.MaxHeader, c.in.conn = most, &timed
		if err := c.readHeader(); errors.Is(err, errResponseSize) != (most < len(header)) {
			t.Errorf("a header of %d bytes, where %d are allowed: %v", len(header), most, err)
		}
	}
}

func TestResponseHeaderBrokenOff(t *testing.T) {
	whole := lines("HTTP/1.1 100 Continue") + lines("HTTP/1.1 200 OK", "A: b")
	for end := range len(whole) {
		r, err := readResponse(newPieces(whole[:end]), message.Request{})
		if !errors.Is(err, io.EOF) || r.in.arrived != (end > 0) {
			t.Errorf("%q: got %v, arrived %v", whole[:end], err, r.in.arrived)
		}
	}
}

// A connection serves on only if the response was read to its end and nothing has come behind it.
func TestReusable(t *testing.T) {
	for _, test := range []struct {
		name, in string
		read     bool // the body is read
		want     bool
	}{
		{"read", lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hello", true, true},
		{"unread", lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hello", false, false},
		{"no body", lines("HTTP/1.1 204 OK"), false, true},
		{"closed", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close") + "hello", true, false},
		{"until close", lines("HTTP/1.1 200 OK") + "hello", true, false},
		{"something behind", lines("HTTP/1.1 200 OK", "Content-Length: 4") + "hello", true, false},
		{"something behind no body", lines("HTTP/1.1 304 OK") + "hello", false, false},
		{"no body where one is announced", lines("HTTP/1.1 304 OK", "Content-Length: 5"), false, false},
		{"chunked", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\n\r\n", true, true},
		{"something behind chunked", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\n\r\nHTTP/1.1 200 OK\r\n", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := readResponse(newPieces(test.in), message.Request{})
			for test.read && err == nil && !r.body.ended {
				_, err = r.body.next(make([]byte, 0, 3))
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := r.reusable(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
