package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Options are testOptions for clients of HTTP/2 in the clear.
func http2Options(urls ...string) Options {
	o := testOptions(urls...)
	o.Server.H2C = true
	return o
}

// http2Client returns Go's own client of HTTP/2 in the clear.
func http2Client(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// frames is a client that sends HTTP/2 frame by frame, those that no honest client sends among them.
type frames struct {
	t     testing.TB
	conn  net.Conn
	write *http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
	last  uint32 // the last stream
}

// dialFrames begins a connection.
func dialFrames(t testing.TB, address string) *frames {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return framesOn(t, conn)
}

// framesOn is dialFrames with a connection of the caller's.
func framesOn(t testing.TB, conn net.Conn) *frames {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	f := &frames{t: t, conn: conn, write: http2.NewFramer(conn, conn)}
	f.write.AllowIllegalWrites = true
	f.write.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.hpack = hpack.NewEncoder(&f.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f.must(f.write.WriteSettings())
	return f
}

func (f *frames) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// encode encodes a list of "name: value". A name that begins with a colon is a pseudo-field.
func (f *frames) encode(list ...string) []byte {
	f.block.Reset()
	for _, line := range list {
		at := 1 + strings.Index(line[1:], ": ")
		if at == 0 {
			f.t.Fatalf("%q is not name: value", line)
		}
		f.must(f.hpack.WriteField(hpack.HeaderField{Name: line[:at], Value: line[at+2:]}))
	}
	return f.block.Bytes()
}

// open begins a stream with a header list.
func (f *frames) open(ends bool, list ...string) (stream uint32) {
	f.t.Helper()
	f.last += 1 + f.last%2 // 1, 3, 5, …
	f.must(f.write.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last, BlockFragment: f.encode(list...), EndStream: ends, EndHeaders: true}))
	return f.last
}

// trailers ends a stream with a list of fields.
func (f *frames) trailers(stream uint32, list ...string) {
	f.t.Helper()
	f.must(f.write.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.encode(list...), EndStream: true, EndHeaders: true}))
}

// answered is what became of a stream.
type answered struct {
	status   string // of the final response; "": none has come
	interim  []string
	fields   map[string]string
	body     []byte
	trailers map[string]string
	reset    http2.ErrCode // with which the stream, or the connection, has ended
	whole    bool          // the response has come to its end
	closed   bool          // the connection has ended
}

// String shows the outcome.
func (a *answered) String() string {
	switch {
	case a.closed:
		return strings.TrimSpace(a.status + " closed " + a.reset.String())
	case !a.whole:
		return strings.TrimSpace(a.status + " reset " + a.reset.String())
	}
	return a.status
}

// wait reads until a stream has ended.
func (f *frames) wait(stream uint32) *answered {
	f.t.Helper()
	a := &answered{}
	for {
		frame, err := f.write.ReadFrame()
		if err != nil {
			a.closed = true
			return a
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			a.closed, a.reset = true, g.ErrCode
			return a
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			f.must(f.write.WriteSettingsAck())
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			a.reset = frame.ErrCode
			return a
		case *http2.MetaHeadersFrame:
			a.take(frame)
			a.whole = frame.StreamEnded()
		case *http2.DataFrame:
			a.body = append(a.body, frame.Data()...)
			if n := uint32(len(frame.Data())); n > 0 {
				f.must(f.write.WriteWindowUpdate(0, n))
				if !frame.StreamEnded() {
					f.must(f.write.WriteWindowUpdate(stream, n))
				}
			}
			a.whole = frame.StreamEnded()
		}
		if a.whole {
			return a
		}
	}
}

// take takes a header, or the trailers.
func (a *answered) take(frame *http2.MetaHeadersFrame) {
	status, into := "", map[string]string{}
	for _, field := range frame.Fields {
		if field.Name == ":status" {
			status = field.Value
			continue
		}
		if before, ok := into[field.Name]; ok {
			field.Value = before + "|" + field.Value
		}
		into[field.Name] = field.Value
	}
	switch {
	case strings.HasPrefix(status, "1"):
		a.interim = append(a.interim, fmt.Sprint(status, into))
	case status != "":
		a.status, a.fields = status, into
	default:
		a.trailers = into
	}
}

// request returns the list of a request, with further fields.
func request(method, path string, more ...string) []string {
	return append([]string{":method: " + method, ":scheme: http", ":authority: example.com", ":path: " + path}, more...)
}
