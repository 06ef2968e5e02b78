package proxy

import (
	"bytes"
	"fmt"
	"strings"

	"loadbalancer/proxy/message"
)

// ExemptConfig is the limiter.exempt section: requests that take no token. A matching method or
// path is enough.
type ExemptConfig struct {
	Methods []string `yaml:"methods"` // case-sensitive, as sent: GET is not get
	Paths   []string `yaml:"paths"`   // the whole target up to ?, compared undecoded
}

// Validate calls wrong once for each fault, with its path below limiter.exempt.
func (c ExemptConfig) Validate(wrong func(path string, value any, allowed string)) {
	for i, method := range c.Methods {
		if len(method) == 0 || len(method) > message.MaxMethod || !message.Token.HasAll([]byte(method)) {
			wrong(fmt.Sprintf("methods[%d]", i), method, fmt.Sprintf("a method as it is sent, such as OPTIONS, of at most %d bytes", message.MaxMethod))
		}
	}
	for i, path := range c.Paths {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "?") || !message.Target.HasAll([]byte(path)) {
			wrong(fmt.Sprintf("paths[%d]", i), path, "a path as it is sent, such as /healthz: / and visible ASCII characters but ? and #")
		}
	}
}

// exemptions holds the requests that take no token. The zero value exempts none.
type exemptions struct{ methods, paths map[string]bool }

func newExemptions(c ExemptConfig) exemptions {
	return exemptions{methods: setOf(c.Methods), paths: setOf(c.Paths)}
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// hold reports whether the request is exempt.
func (e *exemptions) hold(r *message.Request) bool {
	if len(e.methods) > 0 && e.methods[string(r.Method)] { // the compiler makes no copy of a key
		return true
	}
	if len(e.paths) == 0 {
		return false
	}
	path, _, _ := bytes.Cut(r.Target, questionMark)
	return e.paths[string(path)]
}

var questionMark = []byte("?")
