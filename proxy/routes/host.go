package routes

import (
	"bytes"
	"errors"
	"strings"

	"loadbalancer/proxy/upstream"
)

// maxHost is the longest host that a route can have, in bytes (RFC 1035, section 2.3.4).
const maxHost = 253

// wildcard is the label that stands for one or more labels.
const wildcard = "*"

// allowedHost describes the hosts of routes, for error messages.
const allowedHost = "a host name without port, such as api.example.com or *.example.com"

// checkHost returns nil for a host that a route can match, or for an empty one.
func checkHost(host string) error {
	if host == "" {
		return nil
	}
	name, isWild := strings.CutPrefix(host, wildcard+".")
	if strings.ContainsAny(name, "/: *") || isWild && name == "" {
		return errors.New(allowedHost)
	}
	return upstream.CheckHostName(name)
}

// hostName returns the form in which route hosts are compared: lower case, without the trailing dot
// of the DNS root.
func hostName(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// appendHost appends the host of an authority in the form of hostName, or nothing if it is longer
// than that of any route.
func appendHost(dst, authority []byte) []byte {
	if len(authority) > 0 && authority[0] == '[' {
		return dst // an IPv6 address is no name
	}
	host, _, _ := bytes.Cut(authority, colon)
	host = bytes.TrimSuffix(host, dot)
	if len(host) > maxHost {
		return dst
	}
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

var (
	colon = []byte(":")
	dot   = []byte(".")
)
