package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// allowedURL describes valid URLs, for error messages.
const allowedURL = "http://host:port, https://host:port, h2c://host:port, srv://name or unix:/path"

// URL says where a backend listens: http://host:port, https://host:port, h2c://host:port, which is
// HTTP/2 in the clear, srv://name or unix:/path. One with a host name, and srv://name, stands for a
// backend at each address that the name leads to: see URL.at. The zero value means that no URL was
// given. URLs can be compared, but several may lead to the same address.
type URL struct {
	text    string
	network string   // tcp or unix
	address string   // host:port, the name of srv://name, or the path of the socket
	port    uint16   // of host:port
	host    string   // the Host field of requests that have none of their own
	http2   bool     // it speaks HTTP/2: its scheme says so, or its backend's protocol
	subject string   // the name or address that its certificate is for; "": it speaks no TLS
	lookup  question // what finds its addresses, or the zero value: it is one itself
	from    string   // the URL with the name that has led here, or ""
}

// schemes are those of URLs with a host.
var schemes = []string{"http", "https", "h2c", "srv"}

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
	case err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "":
		return URL{}, errors.New(allowedURL)
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return URL{}, errors.New(allowedURL + ", without user, path or query")
	}
	if err := checkBackendHost(u.Hostname()); err != nil {
		return URL{}, fmt.Errorf("%s with %w", allowedURL, err)
	}
	text = strings.TrimSuffix(text, "/") // two ways to write one backend
	if u.Scheme == "srv" {
		return serviceURL(text, u)
	}
	return hostURL(text, u)
}

// hostURL returns the URL of a host, with a port or the scheme's own.
func hostURL(text string, u *url.URL) (URL, error) {
	port, subject := "80", ""
	if u.Scheme == "https" {
		port, subject = "443", subjectOf(u.Hostname())
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if !isPort(port) || port == "0" {
		return URL{}, errors.New(allowedURL + " with a port from 1 to 65535, without a leading zero")
	}
	n, _ := strconv.ParseUint(port, 10, 16) // a port
	return URL{
		text: text, network: "tcp", address: net.JoinHostPort(u.Hostname(), port), port: uint16(n), host: u.Host,
		http2: u.Scheme == "h2c", subject: subject, lookup: question{name: lookupName(u.Hostname())},
	}, nil
}

// subjectOf returns the name or address that the certificate of a host is for: without the zone of
// an address and the dot that may end a name.
func subjectOf(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.WithZone("").String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// serviceURL returns the URL of a service that SRV records lead to. Its Host is the name without
// the labels of the service and its protocol, which no Host has.
func serviceURL(text string, u *url.URL) (URL, error) {
	name := strings.ToLower(u.Hostname())
	if _, err := netip.ParseAddr(name); err == nil || u.Port() != "" || strings.HasSuffix(u.Host, ":") {
		return URL{}, errors.New(allowedURL + ", where SRV records say the addresses and ports")
	}
	host := name
	for strings.HasPrefix(host, "_") && strings.Contains(host, ".") {
		_, host, _ = strings.Cut(host, ".")
	}
	return URL{
		text: text, network: "tcp", address: name, host: strings.TrimSuffix(host, "."),
		lookup: question{name: name, service: true},
	}, nil
}

// lookupName returns the name by which a host is looked up, or "" if it is not. An address needs no
// look-up. localhost is this machine, in IPv4 and IPv6: where a server listens in one of them, the
// other would be a backend that is always down, so the dialer tries both.
func lookupName(host string) string {
	name := strings.ToLower(host)
	short := strings.TrimSuffix(name, ".")
	if _, err := netip.ParseAddr(host); err == nil || short == "localhost" || strings.HasSuffix(short, ".localhost") {
		return ""
	}
	return name
}

// at returns the URL of an address that the name in u has led to. Requests and checks have the name
// as Host, and its certificate is for the name. It hashes as the same address without a name.
func (u URL) at(a netip.AddrPort) URL {
	scheme, _, _ := strings.Cut(u.text, "://")
	if scheme == "srv" {
		scheme = "http"
	}
	return URL{
		text: scheme + "://" + a.String(), network: u.network, address: a.String(), port: a.Port(), host: u.host,
		http2: u.http2, subject: u.subject, lookup: u.lookup, from: u.text,
	}
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

// String returns the URL as it was written, without a slash at the end.
func (u URL) String() string { return u.text }

// IsZero reports whether the URL is the zero value.
func (u URL) IsZero() bool { return u.text == "" }

// Network returns "tcp" or "unix", or "" for the zero value.
func (u URL) Network() string { return u.network }

// IsSecure reports whether the backend speaks TLS.
func (u URL) IsSecure() bool { return u.subject != "" }

// name returns what names the backend in metrics and in the access log: its address or, of one that
// speaks TLS, its URL.
func (u URL) name() string {
	if u.IsSecure() {
		return u.text
	}
	return u.address
}

// Address returns host:port, or the path of the unix socket.
func (u URL) Address() string { return u.address }
