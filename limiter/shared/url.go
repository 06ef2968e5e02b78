package shared

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// CheckURL returns what is allowed if the URL is not that of a Redis or Valkey. The error completes
// the sentence "allowed is", and does not tell the URL.
func CheckURL(raw string) error {
	_, err := parseURL(raw)
	return err
}

const allowedURL = "redis://user:password@host:6379/0, rediss:// for TLS, or unix:///path/to/socket"

var (
	errURL = errors.New(allowedURL)
	// errEncoded is told where a character of a password may have ended a part of the URL too early.
	errEncoded = errors.New(allowedURL + ", with @ / ? # % and : in a password written as %40 %2F %3F %23 %25 and %3A")
)

// The time in which a connection is made, TLS and password included.
const (
	dialTimeout    = 500 * time.Millisecond
	maxDialTimeout = 10 * time.Second
)

// parseURL returns how to connect.
func parseURL(raw string) (rueidis.ClientOption, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return rueidis.ClientOption{}, errEncoded
	}
	if err := checkParts(u); err != nil {
		return rueidis.ClientOption{}, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return rueidis.ClientOption{}, errEncoded
	}
	roots, err := checkQuery(u.Scheme, query)
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	option, err := rueidis.ParseURL(u.String())
	if err != nil { // it may tell the URL
		return rueidis.ClientOption{}, errURL
	}
	if option.TLSConfig != nil {
		option.TLSConfig.RootCAs = roots
		option.DialCtxFn = dialTLS
	}
	tune(&option)
	return option, nil
}

// tune sets what no URL does.
func tune(o *rueidis.ClientOption) {
	o.DisableCache, o.DisableRetry, o.AlwaysPipelining = true, true, true
	o.ClientSetInfo = rueidis.DisableClientSetInfo
	o.PipelineMultiplex = -1 // one connection
	o.ReadBufferEachConn, o.WriteBufferEachConn = 64<<10, 64<<10
	if o.Dialer.Timeout == 0 {
		o.Dialer.Timeout = dialTimeout
	}
	// A connection that is silent for this long gets a PING, and this long to answer it.
	o.Dialer.KeepAlive, o.ConnWriteTimeout = time.Second, time.Second
	o.Sentinel.Dialer, o.Sentinel.TLSConfig = o.Dialer, o.TLSConfig
	o.Sentinel.TopologyRefreshInterval = 5 * time.Second
}

// dialTLS tells a failure of TLS from others.
func dialTLS(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialer.Timeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.ServerName = certified(address, config.ServerName)
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, errTLS{err}
	}
	return secured, nil
}

// certified returns whose certificate a server at an address has to show, where the URL names a host:
// its own, as each sentinel and each node of a cluster may have one. Where others announce it by its IP
// address, which few certificates have, it is that of the host.
func certified(address, host string) string {
	own, _, err := net.SplitHostPort(address)
	if err != nil || isIP(own) && !isIP(host) {
		return host
	}
	return own
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// checkParts checks everything but the query.
func checkParts(u *url.URL) error {
	switch {
	case u.Fragment != "" || strings.Contains(u.Host+u.Path, "@"):
		return errEncoded
	case u.Opaque != "":
		return errURL
	case u.Scheme == "unix":
		if u.Host != "" || len(u.Path) < 2 {
			return errors.New("unix:///path/to/socket")
		}
		return nil
	case !slices.Contains([]string{"redis", "rediss", "valkey", "valkeys"}, u.Scheme):
		return errURL
	case u.Hostname() == "":
		return fmt.Errorf("%s://host:6379: the host is missing", u.Scheme)
	case strings.HasSuffix(u.Host, ":"), strings.Contains(u.Hostname(), ":") && u.Host[0] != '[':
		return errors.New("a port from 1 to 65535 after the host")
	case u.Path != "" && u.Path != "/" && !isNumber(u.Path[1:], 0, maxDatabase):
		return errors.New("the number of a database after the host, as in redis://host:6379/0")
	}
	return checkPort(u.Port())
}

const maxDatabase = 1 << 16

func isNumber(text string, least, most int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= least && n <= most && strconv.Itoa(n) == text
}

func checkPort(port string) error {
	if port != "" && !isNumber(port, 1, 65535) {
		return errors.New("a port from 1 to 65535 after the host")
	}
	return nil
}

// parameters are those of the query, each with a check, which returns what is allowed.
var parameters = map[string]func(value string) error{
	"addr": func(value string) error {
		host, port, err := net.SplitHostPort(value)
		if err != nil || host == "" {
			return errors.New("host:port")
		}
		return checkPort(port)
	},
	"master_set": func(value string) error {
		if value == "" {
			return errors.New("the name of a primary that the sentinels know")
		}
		return nil
	},
	"db": func(value string) error {
		if !isNumber(value, 0, maxDatabase) {
			return errors.New("the number of a database")
		}
		return nil
	},
	"dial_timeout": func(value string) error {
		if d, err := time.ParseDuration(value); err != nil || d < time.Millisecond || d > maxDialTimeout {
			return errors.New("a duration from 1ms to 10s")
		}
		return nil
	},
	"skip_verify": func(value string) error {
		if value != "true" && value != "false" {
			return errors.New("true or false")
		}
		return nil
	},
	"ca": func(value string) error {
		_, err := readRoots(value)
		return err
	},
	"client_name": func(value string) error {
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("printable ASCII without spaces")
		}
		return nil
	},
	"protocol": func(value string) error {
		if value != "2" && value != "3" {
			return errors.New("2 or 3")
		}
		return nil
	},
}

// ofTLS are the parameters that only TLS has.
var ofTLS = []string{"ca", "skip_verify"}

// checkQuery checks the parameters, and returns the certificates that ca names.
func checkQuery(scheme string, query url.Values) (roots *x509.CertPool, err error) {
	isTLS := scheme == "rediss" || scheme == "valkeys"
	var allowed []string
	for name := range parameters {
		if isTLS || !slices.Contains(ofTLS, name) {
			allowed = append(allowed, name)
		}
	}
	slices.Sort(allowed)
	for name, values := range query {
		if !slices.Contains(allowed, name) {
			return nil, fmt.Errorf("%s:// with no parameters after ? but %s", scheme, strings.Join(allowed, ", "))
		}
		for _, value := range values {
			if err := parameters[name](value); err != nil {
				return nil, fmt.Errorf("a URL whose parameter %s is %w", name, err)
			}
		}
		if len(values) > 1 && name != "addr" {
			return nil, fmt.Errorf("a URL that has the parameter %s once", name)
		}
	}
	if file := query.Get("ca"); file != "" {
		return readRoots(file)
	}
	return nil, nil
}

// readRoots reads the certificates of a file.
func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("a file of certificates in PEM: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("a file of certificates in PEM: %s has none", file)
	}
	return roots, nil
}

// place says where the server is, without user and password.
func place(o *rueidis.ClientOption) string {
	at := strings.Join(o.InitAddress, ", ")
	if o.Sentinel.MasterSet != "" {
		return o.Sentinel.MasterSet + " by the sentinels at " + at
	}
	return at
}
