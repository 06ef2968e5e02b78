package http1

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"loadbalancer/proxy/reason"
)

// openTestBody returns a reader of the body of a request that comes in two pieces.
func openTestBody(t *testing.T, raw string) *bodyReader {
	t.Helper()
	s, why, parsed := parsedRequest(newPieces(raw, len(raw)/3))
	if !parsed || why != reason.None {
		t.Fatalf("parsed %v, refused with %v", parsed, why)
	}
	s.conn.set = &connSet{}
	t.Cleanup(func() { endStream(s) })
	return s.OpenBody().(*bodyReader)
}

// TestBodyReader reads bodies whole, and those that break off as far as they go.
func TestBodyReader(t *testing.T) {
	for _, size := range []int{1, 9_999, 200_000} {
		body := strings.Repeat("x", size)
		chunked := withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked") + inChunks([]byte(body))
		fixed := withHost("POST / HTTP/1.1", "Content-Length: "+strconv.Itoa(size)) + body
		for name, c := range map[string]struct {
			raw    string
			length int
			why    reason.Code
		}{
			"chunked":          {chunked, -1, reason.None},
			"fixed":            {fixed, size, reason.None},
			"chunked, cut":     {chunked[:len(chunked)-1], -1, reason.ClientGone},
			"fixed, cut":       {fixed[:len(fixed)-1], size, reason.ClientGone},
			"chunked, invalid": {strings.TrimSuffix(chunked, "0\r\n\r\n") + "x\r\n\r\n", -1, reason.BadRequest},
		} {
			r := openTestBody(t, c.raw)
			got, err := io.ReadAll(r)
			if (err == nil) != (c.why == reason.None) || c.why == reason.None && string(got) != body || !strings.HasPrefix(body, string(got)) {
				t.Errorf("%s of %d bytes: got %d bytes, %v", name, size, len(got), err)
			}
			if _, again := r.Read(make([]byte, 1)); again == nil || err != nil && again != err {
				t.Errorf("%s of %d bytes: the next read returns %v after %v", name, size, again, err)
			}
			if r.Length() != c.length || r.End() != c.why || r.s.Ends() != (c.why != reason.None) {
				t.Errorf("%s of %d bytes: length %d, reason %v, ends: %v", name, size, r.Length(), r.why, r.s.Ends())
			}
		}
	}
}

// TestBodyReaderAtTheEnd stops the reads of an open body, and of one that is opened later; what has
// arrived is read all the same. Afterwards the connection can be written to.
func TestBodyReaderAtTheEnd(t *testing.T) {
	for _, later := range []bool{false, true} {
		client, server := net.Pipe()
		defer client.Close()
		go func() { _, _ = io.WriteString(client, withHost("POST / HTTP/1.1", "Content-Length: 10")+"hello") }()
		s, why, parsed := parsedRequest(server)
		if !parsed || why != reason.None {
			t.Fatalf("parsed %v, refused with %v", parsed, why)
		}
		set := &connSet{conns: []*clientConn{s.conn}}
		s.conn.set = set
		s.activity.Draining.Store(later)
		r := s.OpenBody()
		if !later {
			set.endReads()
		}
		got, err := io.ReadAll(r)
		if want := len("hello"); len(got) != want || !errors.Is(err, net.ErrClosed) || s.Cause != errEnding {
			t.Errorf("later: %v: got %q, %v, cause %v", later, got, err, s.Cause)
		}
		if why := r.End(); why != reason.None || !s.Ends() {
			t.Errorf("later: %v: reason %v, ends: %v", later, why, s.Ends())
		}
		set.endReads() // has no effect any more
		go func() { _, _ = io.ReadAll(client) }()
		if _, err := s.conn.Conn.Write([]byte("answer")); err != nil {
			t.Errorf("later: %v: %v", later, err)
		}
		endStream(s)
	}
}
