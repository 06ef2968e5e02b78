package http1

import (
	"io"
	"net/http/httputil"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// FuzzResponse gives any bytes as a backend's response, for a client of either version. What the
// client gets, a reader by the letter of the RFC takes for the same response, with nothing behind
// it; where the backend's breaks off or is no valid one, the client never sees a clean end.
func FuzzResponse(f *testing.F) {
	for _, response := range []string{
		lines("HTTP/1.1 200 OK", "Content-Length: 5") + "hello", lines("HTTP/1.0 200", "Connection: keep-alive, x-a", "X-A: 1") + "hello",
		lines("HTTP/1.1 100 Continue") + lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: T") + "5\r\nhello\r\n0\r\nT: 1\r\nHost: a\r\n\r\n",
		lines("HTTP/1.1 204 No Content", "Content-Length: 0"), lines("HTTP/1.1 304 \xff", "ETag: \"a\""), lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"),
		"HTTP/1.1 103 Early Hints\nLink: a\n\nHTTP/1.1 200 \x01OK\r\nContent-Length: 5, 5\n\nhello", lines("HTTP/1.0 999 Odd", "Transfer-Encoding: chunked", "Connection: keep-alive") + "5\r\nhello\r\n0\r\nT: \x01\r\n\r\n",
		lines("HTTP/1.0 200 OK", "Content-Length: 0", "Connection: keep-alive"),
	} {
		f.Add(response, uint16(20), false, false)
		f.Add(response, uint16(3), true, true)
	}
	f.Fuzz(func(t *testing.T, raw string, cut uint16, head, http10 bool) {
		in, out := newPieces(raw, int(cut)), newPieces("")
		c, err := readResponse(in, message.Request{Head: head, HTTP10: http10})
		if err != nil {
			return
		}
		want, err := strictResponse(inOneForm(raw), head)
		if err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		s := c.stream.ClientEnd.(*Stream)
		s.conn, s.Out = newTestConn(out), make([]byte, 0, outSize)
		s.activity = new(activity)
		defer s.narrow()
		why := relay(s, c)
		if (why == reason.None) != want.whole {
			t.Fatalf("ends with reason %d, whole: %v, in %q", why, want.whole, raw)
		}
		if rest := string(c.in.buffered()) + in.unread(); why == reason.None && rest != want.rest || c.reusable() && rest != in.unread() {
			t.Errorf("of %q the rest is %q, want %q", raw, rest, want.rest)
		}
		if len(out.written) == 0 && !want.whole {
			return // serve says so with an answer of its own
		}
		checkAnswer(t, s, string(out.written), want)
		if c.reusable() && !want.mayServeOn(head) {
			t.Errorf("the connection serves on behind %q", raw)
		}
	})
}

// checkAnswer fails the test if what the client gets is not what was meant.
func checkAnswer(t *testing.T, s *Stream, out string, want strictAnswer) {
	t.Helper()
	got, err := strictResponse(out, s.Request.Head)
	if err != nil || !strings.HasPrefix(got.start, "HTTP/1.1 ") || got.rest != "" || got.status != want.status {
		t.Fatalf("%v, status %d, rest %q in %q", err, want.status, got.rest, out)
	}
	if ended := got.whole && s.conn.ending != wire.Reset; ended != want.whole {
		t.Errorf("the client sees a clean end: %v, want %v, of %q", ended, want.whole, out)
	}
	if got.untilClose && !s.Ends() || s.Request.HTTP10 && len(got.codings) > 0 {
		t.Errorf("the client cannot tell where %q ends", out)
	}
	if want.whole && got.content != want.content {
		t.Errorf("content %q, want %q", got.content, want.content)
	}
	passed := want.trailers
	if s.Request.HTTP10 || !want.whole {
		passed = nil
	}
	checkTrailers(t, got.trailers, passed, connectionOptions(want.strictMessage))
	ours := 0 // Connection fields of this hop
	if got.status == message.UpgradeRequired {
		ours++
	} else if got.fields["upgrade"] != 0 {
		t.Errorf("Upgrade in %q", out)
	}
	if s.Ends() || s.Request.HTTP10 {
		ours++
	}
	if n := got.fields["connection"]; n > ours || n < ours && want.whole || got.fields["trailer"] > 0 && len(got.codings) == 0 || got.fields["keep-alive"]+got.fields["te"] != 0 {
		t.Errorf("fields of the other hop in %q", out)
	}
}

// understood matches the names, with _ read as -, of the fields that a proxy has to understand.
var understood = regexp.MustCompile(`^(te|trailer|upgrade|keep-alive|proxy-connection|proxy-authenticate|proxy-authorization|connection|content-length|transfer-encoding|host|expect|` +
	`forwarded|x-forwarded-.+|x-real-ip|authorization|idempotency-key|x-request-id)$`)

// checkTrailers fails the test unless those that came went on, but for those that end here.
func checkTrailers(t *testing.T, got, came []string, named map[string]bool) {
	t.Helper()
	var want []string
	for _, line := range came {
		name, _, _ := strings.Cut(strings.ToLower(line), ":")
		dashed := strings.ReplaceAll(name, "_", "-")
		if !understood.MatchString(dashed) && !named[name] {
			want = append(want, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("trailers %q, want %q", got, want)
	}
}

// FuzzChunked holds the decoder to a reader by the letter of the RFC: both accept the same bodies,
// and read the same content and trailers; where a body is broken they have read the same up to
// there.
func FuzzChunked(f *testing.F) {
	for _, test := range chunkedBodies {
		f.Add(test.in+"rest", uint16(len(test.in)/2), uint8(7), "close")
	}
	f.Add("1;a=\"b\"\r\na\r\n0\r\nA: b\r\nX-Hop: c\r\nContent_Length: 5\r\n\r\n", uint16(30), uint8(7), "x-hop")
	f.Fuzz(func(t *testing.T, raw string, cut uint16, size uint8, connection string) {
		in := newPieces(raw, int(cut))
		b := newBody(newInbound(in), message.Chunked, 0, time.Second)
		content, err := readAll(&b, int(size)+1)
		want, ok := strictChunked(raw, trailerLine)
		if (err == nil) != ok || content != want.content {
			t.Fatalf("got %q, %v, want %q, accepted: %v", content, err, want.content, ok)
		}
		if err != nil {
			return
		}
		if rest := string(b.in.buffered()) + in.unread(); rest != want.rest {
			t.Errorf("of %q the rest is %q, want %q", raw, rest, want.rest)
		}
		if again, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(raw))); err == nil && string(again) != content {
			t.Errorf("got %q, net/http reads %q", content, again)
		}
		r := message.Request{Method: []byte("GET"), Target: []byte("/"), Proto: []byte("HTTP/1.1"), Header: []byte("Host: h\r\nConnection: " + connection + "\r\n")}
		if strings.Contains(connection, "\n") || r.Guard(&message.Rules{}) != reason.None {
			return // such a message is refused, or has other fields
		}
		end := "0\r\n" + string(r.AppendTrailers(nil, &b.trailers)) + "\r\n"
		last, ok := strictChunked(end, trailerLine)
		if !ok || last.content != "" || last.rest != "" {
			t.Fatalf("the body would end with %q", end)
		}
		checkTrailers(t, last.trailers, want.trailers, options(connection))
	})
}
