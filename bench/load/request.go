package load

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

const userAgent = "loadbalancer-bench"

// request is a request as it is sent, made once for all connections. It is read-only.
type request struct {
	head   []byte // request line and header, and the body where it was given
	filler []byte // repeated after head until bodySize bytes are sent
	size   int64  // bytes of filler to send after head
	isHead bool   // the response to HEAD has no body
	close  bool   // the connection is not used again
}

func newRequest(o Options, t target) *request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", o.Method, t.path, t.host)
	agent := true
	for _, line := range o.Headers {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Host") {
			continue
		}
		agent = agent && !strings.EqualFold(name, "User-Agent")
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.TrimSpace(value))
	}
	if agent {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", userAgent)
	}
	if size := int64(len(o.Body)) + o.BodySize; size > 0 || o.Method == "POST" || o.Method == "PUT" || o.Method == "PATCH" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", size)
	}
	if !o.KeepAlive {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	b.WriteString(o.Body)

	r := &request{head: b.Bytes(), size: o.BodySize, isHead: o.Method == "HEAD", close: !o.KeepAlive}
	const block = 64 << 10
	filler := bytes.Repeat([]byte("x"), int(min(block, o.BodySize)))
	if o.BodySize <= block { // leaves with the header, in one write
		r.head, r.size = append(r.head, filler...), 0
	} else {
		r.filler = filler
	}
	return r
}

func (r *request) writeTo(w io.Writer) error {
	if _, err := w.Write(r.head); err != nil {
		return err
	}
	for left := r.size; left > 0; {
		n, err := w.Write(r.filler[:min(int64(len(r.filler)), left)])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
