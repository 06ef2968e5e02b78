package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/upstream"
)

// TestHeaderThatFillsTheBuffer checks that a header which leaves no room behind it in the outgoing
// buffer is sent at once, although the first line of the chunked body is incomplete. The backend
// sends the rest only after the client has the header.
func TestHeaderThatFillsTheBuffer(t *testing.T) {
	const bufferSize = 20 << 10 // outSize of package http1
	const before = "HTTP/1.1 200 OK\n"
	const behind = "Connection: close\nTransfer-Encoding: chunked\n\n5"
	// Lines that end in LF alone gain a byte each on their way.
	lines := strings.Repeat("A:\n", 4900)
	sent := len("HTTP/1.1 200 OK\r\n") + 4*4900 + len("B: \r\n") + idSize + len("Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
	header := before + lines + "B: " + strings.Repeat("b", bufferSize-sent) + "\n" + behind

	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	arrived := make(chan struct{})
	go func() {
		conn, err := backend.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		io.WriteString(conn, header)
		<-arrived
		io.WriteString(conn, "\r\nhello\r\n0\r\n\r\n")
	}()

	pool := upstream.DefaultPoolConfig()
	url, err := upstream.ParseURL("http://" + backend.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	pool.Backends = []upstream.BackendConfig{{URL: url, Weight: 1}}
	p := New(Options{Server: DefaultServerConfig(), Pools: map[string]upstream.PoolConfig{"main": pool}, Logging: Logging{Log: zerolog.Nop()}})
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serveAndDrain(ctx, p, Front{Listener: front}) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Get("http://" + front.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	close(arrived)
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "hello" {
		t.Errorf("body %q, error %v; want hello", body, err)
	}
}
