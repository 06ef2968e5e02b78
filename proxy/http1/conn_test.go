package http1

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

func TestHeaderScan(t *testing.T) {
	const header = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, test := range []struct {
		name, in string
		header   int // its length, or 0 where it has no end
		faulty   bool
	}{
		{"whole", header, len(header), false},
		{"with what follows", header + "body\r\n\r\n", len(header), false},
		{"no fields", "GET / HTTP/1.0\r\n\r\n", 18, false},
		{"empty line first", "\r\n" + header, 2 + len(header), false},
		{"two empty lines first", "\r\n\r\n" + header, 4 + len(header), true},
		{"bare LF first", "\n" + header, 1 + len(header), true},
		{"bare LF in the middle", "GET / HTTP/1.1\nHost: a\r\n\r\n", 26, true},
		{"bare LF behind the last field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 26, true},
		{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 0, true},
		{"CR within a line", "GET / HTTP/1.1\r\nA: \r\r\n\r\n", 24, false},
		{"CR alone before CRLF", "GET / HTTP/1.1\r\n\r\r\n\r\n", 21, false},
		{"white space is no end", "GET / HTTP/1.1\r\n \r\n\r\n", 21, false},
		{"a whole line that is none", "A: b\r\n\r\n", 8, false}, // which the guard refuses
		{"method that may end yet", strings.Repeat("A", message.MaxMethod), 0, false},
		{"method that ends late", strings.Repeat("A", message.MaxMethod) + " /" + strings.Repeat("a", 100), 0, false},
		{"method without end", strings.Repeat("A", message.MaxMethod+1), 0, true},
		{"method that ends too late", strings.Repeat("A", message.MaxMethod+1) + " /", 0, true},
		{"method without end behind an empty line", "\r\n" + strings.Repeat("A", message.MaxMethod+1), 0, true},
		{"long field", "GET / HTTP/1.1\r\n" + strings.Repeat("A", 100), 0, false},
		{"begun", "GET / HTTP/1.1\r\nHost: a\r\n", 0, false},
		{"empty lines alone", "\r\n\r\n\n", 0, true},
		{"nothing", "", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s headerScan
			got := s.end([]byte(test.in))
			want := test.header
			if want == 0 {
				want = len(test.in)
			}
			if got != want || s.faulty != test.faulty {
				t.Errorf("got %d bytes, faulty %v; want %d, %v", got, s.faulty, want, test.faulty)
			}
			if spoken := strings.Trim(test.in, "\r\n") != ""; (s.fault() != nil) != (test.faulty && spoken) || s.take() != test.faulty || s != (headerScan{}) {
				t.Error("fault and take do not tell the same, or take leaves something")
			}
		})
	}
}

// A method that comes byte by byte has the same bound as one that comes at once.
func TestHeaderScanOfASlowMethod(t *testing.T) {
	for at := range message.MaxMethod + 2 {
		var s headerScan
		for i := range message.MaxMethod + 1 {
			c := byte('A')
			if i == at {
				c = ' '
			}
			s.end([]byte{c})
		}
		if want := at == 0 || at > message.MaxMethod; s.faulty != want {
			t.Errorf("a space behind %d bytes: faulty %v, want %v", at, s.faulty, want)
		}
	}
}

// However the bytes are cut, a scan finds the same end and the same faults, but for those of a
// request line: where the header came at once, they are left to the guard.
func TestHeaderScanOfPieces(t *testing.T) {
	part := rapid.SampledFrom([]string{"\r\n", "\n", "\r", "A: b", "GET / HTTP/1.1", " ", "x", "\r\n\r\n", "\n\n"})
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOfN(part, 0, 16).Draw(t, "parts"), "")
		var whole, pieces headerScan
		end := whole.end([]byte(in))
		for at := 0; at < end; {
			piece := in[at:rapid.IntRange(at+1, len(in)).Draw(t, "cut")]
			took := pieces.end([]byte(piece))
			if want := min(len(piece), end-at); took != want {
				t.Fatalf("%q: at %d the scan took %d of %q, want %d", in, at, took, piece, want)
			}
			at += took
		}
		whole.start, pieces.start = requestLineScan{}, requestLineScan{}
		whole.nonEmpty, pieces.nonEmpty = whole.nonEmpty || whole.begun, pieces.nonEmpty || pieces.begun
		start, _, ended := strings.Cut(strings.TrimPrefix(in, "\r\n"), "\r\n")
		if ended && !requestLine.MatchString(start) {
			whole.faulty = pieces.faulty
		}
		if whole != pieces {
			t.Fatalf("%q: whole %+v, in pieces %+v", in, whole, pieces)
		}
	})
}

const (
	pipelinedGet   = "GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
	pipelinedFixed = "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET / H"
	pipelinedChunk = "POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nT: u\r\n\r\n"
	pipelinedLast  = "GET /four HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	pipelined      = pipelinedGet + pipelinedFixed + pipelinedChunk + "\r\n" + pipelinedLast
)

// TestReadOfPieces cuts the same requests at any places: fasthttp gets each header and not a byte
// more, and the bodies go to their own reader.
func TestReadOfPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(1, len(pipelined)-1), 0, 40).Draw(t, "cuts")
		in := newPieces(pipelined, sorted(cuts)...)
		s, why, parsed := parsedRequest(in)
		if !parsed || why != reason.None || string(s.Request.Target) != "/one" {
			t.Fatalf("got %v, %d", parsed, why)
		}
		c := s.conn
		header := make([]byte, 0, len(pipelined))
		for !strings.HasSuffix(string(header), "\r\n\r\n") {
			n, err := c.Read(header[len(header):cap(header)])
			if err != nil {
				t.Fatal(err)
			}
			header = header[:len(header)+n]
		}
		if want := pipelinedFixed[:len(pipelinedFixed)-7]; string(header) != want {
			t.Fatalf("got %q, want %q", header, want)
		}
		if at := string(c.in.buffered()) + in.unread(); !strings.HasPrefix(at, "GET / HPOST /three") {
			t.Fatalf("behind the header stands %.40q", at)
		}
	})
}
