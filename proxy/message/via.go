package message

import (
	"bytes"
	"errors"
	"math"

	"gopkg.in/yaml.v3"
)

// ViaName is the name of a proxy in Via: a pseudonym, or a host with an optional port (RFC 9110,
// section 7.6.3). If it is "", no Via is added: some servers, such as nginx by default, do not
// compress for a proxy.
type ViaName string

// maxViaName is the length of the longest DNS name with a port, in bytes.
const maxViaName = 253 + len(":65535")

// UnmarshalYAML parses the name.
func (v *ViaName) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.Value != "" && !isReceivedBy([]byte(n.Value)) {
		return errors.New(`a name such as lb.example.com, lb.example.com:8080 or edge-1, or "" to add no Via`)
	}
	*v = ViaName(n.Value)
	return nil
}

// isReceivedBy reports whether the name can stand in Via. A host may only use the characters of a
// token: the others that a URI allows would end a list element or begin a comment.
func isReceivedBy(name []byte) bool {
	host, port := name, []byte(nil)
	switch end := bytes.IndexByte(name, ']'); {
	case len(name) > maxViaName:
		return false
	case name[0] == '[':
		if end < 0 || !isIPLiteral(name[1:end]) {
			return false
		}
		host, port = nil, name[end+1:]
	default:
		if colon := bytes.IndexByte(name, ':'); colon >= 0 {
			host, port = name[:colon], name[colon:]
		}
		if len(host) == 0 || !Token.HasAll(host) {
			return false
		}
	}
	if len(port) == 0 {
		return true
	}
	n, ok := parseLength(port[1:])
	return port[0] == ':' && len(port) <= len(":65535") && ok && n <= math.MaxUint16
}

// Version is the version of HTTP that a message was received in.
type Version uint8

// The versions.
const (
	HTTP11 Version = iota
	HTTP10
	HTTP2
)

// Via holds the Via field for messages of each version, with its CRLF. They are empty if no Via is
// added.
type Via [3][]byte

// NewVia returns the fields of a name.
func NewVia(name ViaName) (v Via) {
	if name != "" {
		v[HTTP11] = []byte("Via: 1.1 " + name + "\r\n")
		v[HTTP10] = []byte("Via: 1.0 " + name + "\r\n")
		v[HTTP2] = []byte("Via: 2.0 " + name + "\r\n")
	}
	return v
}

// Append appends the field for a received message.
func (v *Via) Append(dst []byte, received Version) []byte { return append(dst, v[received]...) }
