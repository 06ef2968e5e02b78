package proxy

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/rs/zerolog"
)

// With both, the PROXY header stands before the handshake, and the address in it is the client's.
func TestProxyHeaderCountsOverTLS(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xcb\x00\x71\x01\x12\x34\x01\xbb"
	for _, test := range []struct {
		name   string
		pieces []string
		want   string // the client's address; "": there is no handshake
	}{
		{"version 1", []string{"PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\n"}, "192.0.2.7"},
		{"version 2", []string{v2}, "192.0.2.7"},
		{"version 1 in pieces", []string{"PRO", "XY TCP4 192.0.2.7 203.0.113.1 4711 443", "\r", "\n"}, "192.0.2.7"},
		{"version 2 in pieces", []string{v2[:5], v2[5:17], v2[17:]}, "192.0.2.7"},
		{"LOCAL", []string{v2[:12] + "\x20\x00\x00\x00"}, "127.0.0.1"},
		{"none", nil, ""},
		{"garbage", []string{"GARBAGE\r\n"}, ""},
		{"one that is cut", []string{"PROXY TCP4 192.0.2.7\r\n"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			url, got := startRecordingBackend(t)
			var log logLines
			o := testOptions(url)
			o.Server.TrustedProxies, o.Server.ProxyProtocol = prefixes("127.0.0.1"), true
			o.Access, o.Log = AccessAll, zerolog.New(&log)
			o.Limiter = limits(1, 0.0001)
			e := startEdge(t, o, true)
			conn := dial(t, e.secure)
			for _, piece := range test.pieces {
				if _, err := io.WriteString(conn, piece); err != nil {
					t.Fatal(err)
				}
			}
			if test.want == "" {
				if err := tls.Client(conn, &tls.Config{RootCAs: e.servers.Pool, ServerName: "example.com", Certificates: []tls.Certificate{e.certificate(alice)}}).Handshake(); err == nil {
					t.Fatal("there is a handshake")
				}
				return
			}
			client := e.over(t, conn, "example.com", e.certificate(alice))
			client.send(plainGet)
			header := <-got
			requireFields(t, header, "X-Forwarded-For", "X-Forwarded-For: "+test.want)
			requireFields(t, header, "X-Forwarded-Proto", "X-Forwarded-Proto: https")
			requireFields(t, header, "X-Client-Subject", "X-Client-Subject: "+alicesText)
			client.receive("GET")
			client.send(plainGet)
			if a := client.receive("GET"); a.StatusCode != 429 {
				t.Errorf("the second request gets %d", a.StatusCode)
			}
			other := dial(t, e.secure)
			if _, err := io.WriteString(other, "PROXY TCP4 192.0.2.8 203.0.113.1 4711 443\r\n"); err != nil {
				t.Fatal(err)
			}
			neighbour := e.over(t, other, "example.com", e.certificate(alice))
			neighbour.send(plainGet)
			if a := neighbour.receive("GET"); a.StatusCode != 204 {
				t.Errorf("another client gets %d", a.StatusCode)
			}
			waitIdle(t, e.Proxy)
			checkLine(t, log.parsed(t)[0], map[string]any{"address": test.want, "client_subject": alicesText})
		})
	}
}

// A trusted proxy may send a forwarding field behind its PROXY header and through TLS.
func TestForwardedForOverTLS(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := testOptions(url)
	o.Server.TrustedProxies = prefixes("127.0.0.1", "192.0.2.7")
	o.Server.ProxyProtocol = true
	e := startEdge(t, o, false)
	conn := dial(t, e.secure)
	if _, err := io.WriteString(conn, "PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\n"); err != nil {
		t.Fatal(err)
	}
	client := e.over(t, conn, "example.com")
	client.send(lines("GET / HTTP/1.1", "Host: example.com", "X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: http"))
	header := <-got
	requireFields(t, header, "X-Forwarded-For", "X-Forwarded-For: 198.51.100.9, 192.0.2.7")
	requireFields(t, header, "X-Forwarded-Proto", "X-Forwarded-Proto: http")
}
