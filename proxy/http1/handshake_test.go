package http1

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/wire"
)

// secureServer is a server of TLS on a free port, until the test ends.
type secureServer struct {
	*Server
	address   string
	authority *certtest.Authority
}

// startSecure serves TLS, and answers each request with what the handshake has agreed on.
func startSecure(t *testing.T, o Options, change func(*tls.Config)) *secureServer {
	t.Helper()
	s := &secureServer{authority: certtest.NewAuthority(t)}
	config := &tls.Config{Certificates: []tls.Certificate{s.authority.Issue([]string{"a.example"})}}
	if change != nil {
		change(config)
	}
	if o.Handle == nil {
		o.Handle = func(end ends.Stream) {
			s := end.ClientEnd.(*Stream)
			_ = s.Guard(testLimits)
			got := s.Security()
			header, size := s.RequestCtx(), 0
			if got != nil {
				text := got.ServerName + " " + tls.VersionName(got.Version) + " " + got.Subject
				header.SetBodyString(text)
				size = len(text)
			}
			s.AnswerPlainly(200, size)
			s.End()
		}
	}
	if o.ReadHeaderTimeout == 0 {
		o.ReadHeaderTimeout = time.Minute
	}
	if o.Proxied == nil {
		o.Proxied = func(netip.Addr) bool { return false }
	}
	s.Server, s.address = startServerAt(t, o, config)
	return s
}

func (s *secureServer) client(change func(*tls.Config)) *tls.Config {
	c := &tls.Config{RootCAs: s.authority.Pool, ServerName: "a.example"}
	if change != nil {
		change(c)
	}
	return c
}

// faults returns how often a fault has occurred.
func (s *Server) faults(of HandshakeFault) uint64 { return s.handshakes.fault[of].Load() }

// Security has what the handshake has agreed on.
func TestSecurity(t *testing.T) {
	s := startSecure(t, Options{}, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert })
	own := s.authority.Issue([]string{"client"}, certtest.Subject(pkix.Name{CommonName: "the client", Organization: []string{"Us, Inc"}}))
	for _, test := range []struct {
		want   string
		change func(*tls.Config)
	}{
		{"a.example TLS 1.3 ", nil},
		{"a.example TLS 1.2 ", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{"a.example TLS 1.3 ", func(c *tls.Config) { c.ServerName = "A.Example" }},
		{` TLS 1.3 CN=the client,O=Us\, Inc`, func(c *tls.Config) {
			c.ServerName, c.InsecureSkipVerify, c.Certificates = "", true, []tls.Certificate{own}
		}},
	} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: s.client(test.change)}}
		r, err := client.Get("https://" + s.address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		client.CloseIdleConnections()
		if err != nil || string(body) != test.want {
			t.Errorf("got %q, %v, want %q", body, err, test.want)
		}
	}
}

// Each handshake that fails is counted by its cause. HTTP in the clear has an answer, and nothing
// else has one.
func TestHandshakeFaults(t *testing.T) {
	s := startSecure(t, Options{Bounds: Bounds{ReadHeaderTimeout: 300 * time.Millisecond}, Proxied: func(netip.Addr) bool { return false }}, nil)
	dial := func(t *testing.T) net.Conn {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	talk := func(t *testing.T, change func(*tls.Config)) string {
		conn := tls.Client(dial(t), s.client(change))
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		return err.Error()
	}
	send := func(t *testing.T, text string, end bool) string {
		conn := dial(t)
		_, _ = io.WriteString(conn, text)
		if end {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		got, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("reading the answer: %v", err)
		}
		return string(got)
	}
	for _, test := range []struct {
		name  string
		fault HandshakeFault
		do    func(t *testing.T) string
		want  string // in what the client gets or sees; "": it gets nothing
	}{
		{"nothing is sent", HandshakeLate, func(t *testing.T) string { return send(t, "", false) }, ""},
		{"a piece is sent", HandshakeLate, func(t *testing.T) string { return send(t, "\x16\x03\x01\x00\x50\x01", false) }, ""},
		{"the client leaves", HandshakeGone, func(t *testing.T) string { return send(t, "", true) }, ""},
		{"HTTP", HandshakePlain, func(t *testing.T) string { return send(t, withHost("GET / HTTP/1.1"), false) }, "HTTP/1.1 400 Bad Request\r\n"},
		{"a lot of HTTP", HandshakePlain, func(t *testing.T) string {
			return send(t, "POST / HTTP/1.1\r\n"+strings.Repeat("x", 64<<10), false)
		}, "use https instead\n"},
		{"SSH", HandshakePlain, func(t *testing.T) string { return send(t, "SSH-2.0-OpenSSH_9.2\r\n", false) }, ""},
		{"an authority that the client does not know", HandshakeDenied, func(t *testing.T) string {
			return talk(t, func(c *tls.Config) { c.RootCAs = nil })
		}, "unknown authority"},
		{"an old version", HandshakeRefused, func(t *testing.T) string {
			return talk(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
		}, "protocol version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.faults(test.fault)
			got := test.do(t)
			if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, want %q in it", got, test.want)
			}
			waitUntil(t, "the count", func() bool { return s.faults(test.fault) == before+1 })
		})
	}
	waitUntil(t, "connections to end", func() bool { return s.Connections() == 0 })
}

// A connection without its handshake makes place for another.
func TestHandshakeMakesPlace(t *testing.T) {
	var turned atomic.Int64
	s := startSecure(t, Options{
		Bounds:     Bounds{ReadHeaderTimeout: time.Minute, MaxConnections: 1},
		TurnedAway: func(netip.Addr, time.Duration, int) { turned.Add(1) },
	}, nil)
	half, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	_, _ = io.WriteString(half, "\x16\x03\x01\x02\x00\x01\x00")
	waitUntil(t, "the first connection", func() bool { return s.Connections() == 1 })
	whole, err := tls.Dial("tcp", s.address, s.client(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if err := getOn(whole); err != nil {
		t.Fatal(err)
	}
	_ = half.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(half); len(got) > 0 || wire.TimedOut(err) || turned.Load() > 0 {
		t.Errorf("the first got %q, %v; %d are turned away", got, err, turned.Load())
	}
}

// waitUntil waits until a condition holds, and fails if it does not in time.
func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}

func TestHandshakeFault(t *testing.T) {
	for err, want := range map[error]HandshakeFault{
		errProxyHeader:       HandshakeInProxy,
		io.EOF:               HandshakeGone,
		io.ErrUnexpectedEOF:  HandshakeGone,
		net.ErrClosed:        HandshakeGone,
		errors.New("others"): HandshakeRefused,
	} {
		if got := handshakeFault(err); got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}
