//go:build !race

package proxy

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestHTTP2Allocations counts what the whole process allocates for a stream, from the client's write
// to the end of the response, through a real backend. HPACK's decoder makes a string of each value
// that is not in its table.
func TestHTTP2Allocations(t *testing.T) {
	const response = "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world"
	for _, test := range []struct {
		name string
		data string
		more []string
		most float64
	}{
		{"GET", "", nil, 0},
		{"POST", "hello", []string{"content-length: 5"}, 0},
		{"another value each time", "", []string{"x-request-number: "}, 3},
	} {
		o := http2Options(startRawBackend(t, frugal(len(test.data), response)))
		o.Limiter = limits(1_000_000, 1_000_000)
		_, address := startProxy(t, o)
		f := dialFrames(t, address)
		method := "GET"
		if test.data != "" {
			method = "POST"
		}
		in := make([]byte, 64<<10)
		var out, block bytes.Buffer
		write, encoder := http2.NewFramer(&out, nil), hpack.NewEncoder(&block)
		stream, list := uint32(1), request(method, "/path?query", append([]string{"user-agent: test"}, test.more...)...)
		fields := make([]hpack.HeaderField, len(list))
		for i, line := range list {
			at := 1 + bytes.Index([]byte(line[1:]), []byte(": "))
			fields[i] = hpack.HeaderField{Name: line[:at], Value: line[at+2:]}
		}
		ends := []byte{0, byte(http2.FlagDataEndStream), 0, 0, 0, 0}
		exchange := func() {
			out.Reset()
			block.Reset()
			for i, field := range fields {
				if i == len(fields)-1 && field.Value == "" {
					field.Value = string(binary.BigEndian.AppendUint32([]byte("number "), stream|0x30303030))
				}
				_ = encoder.WriteField(field)
			}
			_ = write.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: test.data == "", EndHeaders: true})
			if test.data != "" {
				_ = write.WriteData(stream, true, []byte(test.data))
			}
			_, _ = f.conn.Write(out.Bytes())
			binary.BigEndian.PutUint32(ends[2:], stream)
			for n := 0; !bytes.Contains(in[:n], ends); {
				m, err := f.conn.Read(in[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += m
			}
			stream += 2
		}
		for range 200 { // pools and buffers fill
			exchange()
		}
		n := testing.AllocsPerRun(2000, exchange)
		t.Logf("%s: %v allocations for each stream", test.name, n)
		if n > test.most {
			t.Errorf("%s: %v allocations for each stream, want at most %v", test.name, n, test.most)
		}
	}
}
