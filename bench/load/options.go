package load

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

const (
	maxConnections = 100_000
	maxRate        = 10_000_000
	maxBodySize    = 1 << 40
)

// Options says what load to put on which URL. It has no defaults: every field is used as it is.
type Options struct {
	// URL is http://host[:port][/path][?query].
	URL string
	// Method is the request's method, such as GET.
	Method string
	// Headers are "Name: value" lines. A Host line replaces the URL's.
	Headers []string
	// Body is sent with every request. At most one of Body and BodySize may be set.
	Body string
	// BodySize is the size in bytes, up to 1 TiB, of a generated body. It takes constant memory. 0
	// means none.
	BodySize int64
	// Connections is the number of open connections, each with one request at a time: 1 to 100,000.
	Connections int
	// Requests ends the run once that many were sent. 0 means no limit.
	Requests int64
	// Duration ends the run: no request starts after it. 0 means no limit. One of Requests and
	// Duration must be set.
	Duration time.Duration
	// Rate is the number of requests per second of a fixed schedule (open loop). 0 means no
	// schedule (closed loop): a connection sends its next request as soon as it has its response.
	Rate float64
	// Timeout bounds each connect, and each request from its first byte to the last byte of its
	// response.
	Timeout time.Duration
	// KeepAlive sends many requests over one connection. Without it, each request has its own
	// connection.
	KeepAlive bool
	// Progress, if set, is called about every ProgressInterval, from one goroutine.
	Progress         func(Progress)
	ProgressInterval time.Duration
}

// Validate returns an error about the first option that is out of range. It begins with the
// option's name in snake_case, and says what is allowed.
func (o Options) Validate() error {
	switch {
	case o.Connections < 1 || o.Connections > maxConnections:
		return fmt.Errorf("connections=%d: must be from 1 to %d", o.Connections, maxConnections)
	case o.Requests < 0:
		return fmt.Errorf("requests=%d: must be 1 or more, or 0 for no limit", o.Requests)
	case o.Duration < 0:
		return fmt.Errorf("duration=%s: must be above 0, such as 10s, or 0 for no limit", o.Duration)
	case o.Requests == 0 && o.Duration == 0:
		return fmt.Errorf("requests=0: must be 1 or more where no duration is set")
	case !(o.Rate >= 0 && o.Rate <= maxRate): // this way round, so that NaN is refused
		return fmt.Errorf("rate=%v: must be above 0 and at most %d requests per second, or 0 for no schedule", o.Rate, maxRate)
	case o.Timeout <= 0:
		return fmt.Errorf("timeout=%s: must be above 0, such as 10s", o.Timeout)
	case o.Progress != nil && o.ProgressInterval <= 0:
		return fmt.Errorf("progress_interval=%s: must be above 0", o.ProgressInterval)
	case o.BodySize < 0 || o.BodySize > maxBodySize:
		return fmt.Errorf("body_size=%d: must be from 0 to %d bytes, such as 64KiB", o.BodySize, int64(maxBodySize))
	case o.Body != "" && o.BodySize > 0:
		return fmt.Errorf("body_size=%d: must not be set where a body is", o.BodySize)
	case !isToken(o.Method) || o.Method == "CONNECT":
		return fmt.Errorf("method=%q: must be an HTTP method other than CONNECT, such as GET or POST", o.Method)
	}
	for _, h := range o.Headers {
		if err := validateHeader(h); err != nil {
			return err
		}
	}
	_, err := o.target()
	return err
}

func validateHeader(line string) error {
	name, value, found := strings.Cut(line, ":")
	switch {
	case !found || !isToken(name) || strings.ContainsFunc(value, isControl):
		return fmt.Errorf("header=%q: must be 'Name: value' on one line", line)
	case strings.EqualFold(name, "Content-Length"), strings.EqualFold(name, "Transfer-Encoding"):
		return fmt.Errorf("header=%q: is set from the body; use body or body_size", line)
	case strings.EqualFold(name, "Connection"):
		return fmt.Errorf("header=%q: is set from keepalive; use keepalive=false to close", line)
	}
	return nil
}

// isToken reports whether s is a method or a field name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isControl reports whether r may not occur in a field value (RFC 9110, section 5.5).
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// target is where requests are sent.
type target struct {
	address string // host:port to dial
	host    string // the Host header
	path    string // the request's target: path and query
}

func (o Options) target() (target, error) {
	const allowed = "must be http://host[:port][/path], such as http://localhost:8080/"
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return target{}, fmt.Errorf("url=%q: %s", o.URL, allowed)
	case u.Scheme == "https":
		return target{}, fmt.Errorf("url=%q: https is not supported, the load is plain HTTP; %s", o.URL, allowed)
	case u.Scheme != "http" || u.Hostname() == "":
		return target{}, fmt.Errorf("url=%q: %s", o.URL, allowed)
	case u.User != nil:
		return target{}, fmt.Errorf("url=%q: must not hold a user; send header 'Authorization: …' instead", u.Redacted())
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	t := target{address: net.JoinHostPort(u.Hostname(), port), host: u.Host, path: u.RequestURI()}
	for _, h := range o.Headers {
		if name, value, _ := strings.Cut(h, ":"); strings.EqualFold(name, "Host") {
			t.host = strings.TrimSpace(value)
		}
	}
	return t, nil
}
