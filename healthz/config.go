// Package healthz watches backends with active health checks, and reports what they say of each:
// whether it is down, and whether that is because it does not answer or because of its answer.
//
// Each check has its own connection, and no check outlasts its timeout. The number of concurrent
// checks is bounded, and backends that hang cannot keep the others from being checked. A shortage
// on this machine, such as of file descriptors, is not held against a backend. When Run returns,
// nothing is left running.
//
// The package knows nothing of pools, traffic, or what a report leads to: the caller passes targets
// and a function for each.
package healthz

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of the configuration. The shortest interval keeps a typing error ("2ms" for "2s") from
// flooding the backends.
const (
	minInterval      = 10 * time.Millisecond
	maxInterval      = time.Hour
	minTimeout       = time.Millisecond
	maxTimeout       = time.Minute
	maxStreak        = 1000
	maxMaxConcurrent = 10000
	maxMethod        = 32   // bytes
	maxHost          = 255  // bytes
	maxText          = 4096 // bytes of the text in a body
)

// Config is the pools.NAME.health section of the configuration file. Start from DefaultConfig: the
// zero value is not valid.
type Config struct {
	// Path is what a check asks for by HTTP. If it is empty, a connection that opens is enough, and
	// Method, Host, Status and Body must have their defaults.
	Path string `yaml:"path"`
	// Method is the method of the check, in capital letters and not CONNECT.
	Method string `yaml:"method"`
	// Host is the Host field of the check. If it is empty, that is Target.Host.
	Host string `yaml:"host"`
	// Status holds the status codes that an answer may have.
	Status Statuses `yaml:"status"`
	// Body is a text that the first 64 KiB of the answer's body must contain. If it is empty, the
	// body is not read.
	Body string `yaml:"body"`
	// GRPC is the service whose state a check asks for by grpc.health.v1, "*" for that of the server as
	// a whole. Path must then be empty, and the backends speak HTTP/2.
	GRPC string `yaml:"grpc"`
	// Interval is the pause between two checks of one backend, give or take 10 %; 10ms to 1h. A
	// backend that is down is checked more often: see Config.pause.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one check from the start of the connect to the end of the response header, or
	// to the text that its body must contain; 1ms to 1m.
	Timeout time.Duration `yaml:"timeout"`
	// Rise is the number of consecutive successes that bring a backend back; 1 to 1000.
	Rise int `yaml:"rise"`
	// Fall is the number of consecutive failures that take a backend out; 1 to 1000. If the very
	// first check fails, that is enough.
	Fall int `yaml:"fall"`
	// MaxConcurrent is the most concurrent checks of this pool; 1 to 10000. Backends that are down
	// get at most half of them. Time spent waiting for a slot does not count towards Timeout.
	MaxConcurrent int `yaml:"max_concurrent"`
}

// DefaultConfig returns the values of keys that the configuration file leaves out.
func DefaultConfig() Config {
	return Config{
		Method:        http.MethodGet,
		Status:        anySuccess(),
		Interval:      2 * time.Second,
		Timeout:       time.Second,
		Rise:          2,
		Fall:          2,
		MaxConcurrent: 16,
	}
}

// OnlyConnects reports whether a check passes once a connection has opened.
func (c *Config) OnlyConnects() bool { return c.Path == "" && c.GRPC == "" }

// Validate calls wrong once for each value out of range, with its key relative to the health
// section, the value, and what is allowed.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	if c.Path != "" && !validPath(c.Path) {
		wrong("path", c.Path, `"" or a path that begins with "/", in printable ASCII without spaces and "#"`)
	}
	switch {
	case c.GRPC == "":
	case c.Path != "":
		wrong("grpc", c.GRPC, `"" with a path, or a pool without health.path`)
	case !validService(c.GRPC):
		wrong("grpc", c.GRPC, `the full name of a service, such as shop.v1.Cart, or "*" for the server as a whole`)
	}
	c.validateRequest(wrong)
	if c.Interval < minInterval || c.Interval > maxInterval {
		wrong("interval", c.Interval, "a time from 10ms to 1h")
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		wrong("timeout", c.Timeout, "a time from 1ms to 1m")
	}
	counts := []struct {
		path       string
		value, max int
	}{
		{"rise", c.Rise, maxStreak},
		{"fall", c.Fall, maxStreak},
		{"max_concurrent", c.MaxConcurrent, maxMaxConcurrent},
	}
	for _, n := range counts {
		if n.value < 1 || n.value > n.max {
			wrong(n.path, n.value, fmt.Sprintf("a whole number from 1 to %d", n.max))
		}
	}
}

// validateRequest checks what makes up a check by HTTP and its answer.
func (c Config) validateRequest(wrong func(path string, value any, allowed string)) {
	preset := DefaultConfig()
	keys := []struct {
		path, value, preset string
		valid               bool
		allowed             string
	}{
		{"method", c.Method, preset.Method, validMethod(c.Method), "a method in capital letters, such as GET, HEAD or OPTIONS, but not CONNECT"},
		{"host", c.Host, preset.Host, c.Host == "" || validHost(c.Host), `"" for the backend's own, or a host name or address, with or without a port, such as shop.example`},
		{"status", c.Status.String(), preset.Status.String(), c.Status != Statuses{}, errStatuses.Error()},
		{"body", c.Body, preset.Body, len(c.Body) <= maxText, fmt.Sprintf("a text of at most %d bytes", maxText)},
	}
	for _, k := range keys {
		switch {
		case !k.valid:
			wrong(k.path, k.value, k.allowed)
		case k.path == "host" && c.GRPC != "":
		case c.Path == "" && k.value != k.preset:
			if k.preset == "" {
				k.preset = `""`
			}
			wrong(k.path, k.value, k.preset+" as long as path is empty, since such a check only connects; or set path")
		case k.path == "body" && c.Body != "" && c.Method == http.MethodHead:
			wrong(k.path, k.value, `"" with method HEAD, whose answers have no body; or another method`)
		}
	}
}

// validMethod reports whether a check can have a method. What follows a CONNECT is no HTTP. The
// names of methods are case-sensitive, and those in use have no small letters.
func validMethod(method string) bool {
	notInMethod := func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' && r != '_' }
	return method != "" && len(method) <= maxMethod && method != http.MethodConnect && !strings.ContainsFunc(method, notInMethod)
}

// validService reports whether a text is the name of a service of gRPC, or wholeServer.
func validService(name string) bool {
	notInName := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/", r)
	}
	return name == wholeServer || len(name) <= maxText && !strings.ContainsFunc(name, notInName)
}

// hostPort matches a host name, an IPv4 address or an IPv6 address in brackets, and a port.
var hostPort = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]+))?$`)

// validHost reports whether host can stand in a Host field.
func validHost(host string) bool {
	parts := hostPort.FindStringSubmatch(host)
	if parts == nil || len(host) > maxHost {
		return false
	}
	if parts[1] != "" && net.ParseIP(parts[1]) == nil {
		return false
	}
	port, err := strconv.ParseUint(parts[2], 10, 16)
	return parts[2] == "" || err == nil && port > 0
}

// asked is what a check asks for in words, which logs and the API show: a query may have a secret.
func (c *Config) asked() string {
	path, _, has := strings.Cut(c.Path, "?")
	if has {
		path += "?…"
	}
	return c.Method + " " + path
}

// validPath reports whether path can stand in a request line unchanged: a space or a line end would
// split the request.
func validPath(path string) bool {
	notInTarget := func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }
	return strings.HasPrefix(path, "/") && !strings.ContainsFunc(path, notInTarget)
}
