package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// allowedURL describes valid URLs, for error messages.
const allowedURL = "http://host:port or unix:/path"

// URL says where a backend listens: http://host:port or unix:/path. The zero value means that no
// URL was given. URLs can be compared, but several may lead to the same address.
type URL struct {
	text    string
	network string // tcp or unix
	address string // host:port, or the path of the socket
	host    string // the Host field of requests that have none of their own
}

// ParseURL parses a URL. "" is the zero value. Its error says what is allowed.
func ParseURL(text string) (URL, error) {
	if text == "" {
		return URL{}, nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return URL{}, errors.New(allowedURL + ", the path with its leading /")
		}
		return URL{text: text, network: "unix", address: path, host: "localhost"}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" || u.Hostname() == "":
		return URL{}, errors.New(allowedURL)
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return URL{}, errors.New(allowedURL + ", without user, path or query")
	}
	if err := checkBackendHost(u.Hostname()); err != nil {
		return URL{}, fmt.Errorf("%s with %w", allowedURL, err)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	if !isPort(port) || port == "0" {
		return URL{}, errors.New(allowedURL + " with a port from 1 to 65535, without a leading zero")
	}
	return URL{text: text, network: "tcp", address: net.JoinHostPort(u.Hostname(), port), host: u.Host}, nil
}

// isPort reports whether s is a port in decimal digits. A leading zero is refused because it may
// mean octal.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// UnmarshalText is ParseURL.
func (u *URL) UnmarshalText(text []byte) (err error) {
	*u, err = ParseURL(string(text))
	return err
}

// String returns the URL as it was written.
func (u URL) String() string { return u.text }

// IsZero reports whether the URL is the zero value.
func (u URL) IsZero() bool { return u.text == "" }

// Network returns "tcp" or "unix", or "" for the zero value.
func (u URL) Network() string { return u.network }

// Address returns host:port, or the path of the unix socket.
func (u URL) Address() string { return u.address }
