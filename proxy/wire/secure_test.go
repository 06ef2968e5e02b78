package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
)

// holder is a connection that may hold back what is written.
type holder struct {
	net.Conn
	holds bool
	held  []byte
}

func (h *holder) Write(p []byte) (int, error) {
	if h.holds {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	return h.Conn.Write(p)
}

// securePair returns a Conn that is the server of TLS, and its client.
func securePair(t *testing.T, early int) (*Conn, *tls.Conn, *holder) {
	t.Helper()
	authority := certtest.NewAuthority(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	below := &holder{Conn: raw}
	client := tls.Client(below, &tls.Config{RootCAs: authority.Pool, ServerName: "a.example"})
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close(); accepted.Close() })
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	first := make([]byte, early)
	if _, err := io.ReadFull(accepted, first); err != nil {
		t.Fatal(err)
	}
	server := new(Conn)
	*server = Over(accepted)
	server.Secure(tls.Server, &tls.Config{Certificates: []tls.Certificate{authority.Issue([]string{"a.example"})}}, first)
	if err := server.Handshake(time.Now().Add(10*time.Second), NewGate(1)); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return server, client, below
}

// Bytes that were read before the handshake belong to it, and what was sent arrives, both ways.
func TestSecure(t *testing.T) {
	for _, early := range []int{0, 1, 100} {
		server, client, _ := securePair(t, early)
		if !server.IsSecure() || server.ConnectionState().Version != tls.VersionTLS13 {
			t.Errorf("got %+v", server.ConnectionState())
		}
		if _, err := client.Write([]byte("to the server")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, err := server.Read(b); err != nil || string(b[:n]) != "to the server" {
			t.Errorf("got %q, %v", b[:n], err)
		}
		if _, err := server.Write([]byte("to the client")); err != nil {
			t.Fatal(err)
		}
		if n, err := client.Read(b); err != nil || string(b[:n]) != "to the client" {
			t.Errorf("got %q, %v", b[:n], err)
		}
	}
}

// A read that a deadline or Stop has interrupted, even within a record, goes on later.
func TestSecureReadGoesOn(t *testing.T) {
	server, client, below := securePair(t, 0)
	b := make([]byte, 100)
	server.ExpectRead(time.Now(), 10*time.Millisecond)
	if _, err := server.Read(b); !TimedOut(err) {
		t.Fatalf("got %v, want a time-out", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		server.Stop()
	}()
	_ = server.SetReadDeadline(time.Time{})
	if _, err := server.Read(b); !TimedOut(err) {
		t.Fatalf("got %v, want an interruption", err)
	}
	server.Resume()
	below.holds = true
	if _, err := client.Write([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	_, _ = below.Conn.Write(below.held[:7])
	server.ExpectRead(time.Now(), 20*time.Millisecond)
	if _, err := server.Read(b); !TimedOut(err) {
		t.Fatalf("got %v, want a time-out", err)
	}
	_, _ = below.Conn.Write(below.held[7:])
	server.ExpectRead(time.Now(), 10*time.Second)
	if n, err := server.Read(b); err != nil || string(b[:n]) != "whole" {
		t.Errorf("got %q, %v", b[:n], err)
	}
}

// Quiet: what concerns TLS alone does not count; a byte does, also one that TLS has decrypted and
// the owner has not read, and so does the end, with and without a word.
func TestSecureQuiet(t *testing.T) {
	send := func(t *testing.T, client *tls.Conn, text string) {
		t.Helper()
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	tests := map[string]struct {
		does  func(t *testing.T, server *Conn, client *tls.Conn, below *holder)
		quiet bool
	}{
		"nothing": {func(*testing.T, *Conn, *tls.Conn, *holder) {}, true},
		"a byte":  {func(t *testing.T, _ *Conn, client *tls.Conn, _ *holder) { send(t, client, "x") }, false},
		"all that was sent is read": {func(t *testing.T, server *Conn, client *tls.Conn, _ *holder) {
			send(t, client, "two")
			_, _ = io.ReadFull(server, make([]byte, 3))
		}, true},
		"a rest of a record": {func(t *testing.T, server *Conn, client *tls.Conn, _ *holder) {
			send(t, client, "two")
			_, _ = io.ReadFull(server, make([]byte, 2))
		}, false},
		"a second record that came with the first": {func(t *testing.T, server *Conn, client *tls.Conn, below *holder) {
			below.holds = true
			send(t, client, "one")
			send(t, client, "two")
			_, _ = below.Conn.Write(below.held)
			_, _ = io.ReadFull(server, make([]byte, 3))
		}, false},
		"the end": {func(_ *testing.T, _ *Conn, client *tls.Conn, _ *holder) {
			_ = client.Close()
			time.Sleep(20 * time.Millisecond)
		}, false},
		"an end without a word": {func(_ *testing.T, _ *Conn, _ *tls.Conn, below *holder) {
			_ = below.Conn.Close()
			time.Sleep(20 * time.Millisecond)
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server, client, below := securePair(t, 0)
			test.does(t, server, client, below)
			if server.Quiet() != test.quiet {
				t.Errorf("want %v", test.quiet)
			}
			if test.quiet { // it serves on
				send(t, client, "on")
				b := make([]byte, 10)
				if n, err := server.Read(b); err != nil || string(b[:n]) != "on" {
					t.Errorf("got %q, %v", b[:n], err)
				}
			}
		})
	}
}

// A client's end of TLS reads the tickets that come after the handshake, and stays quiet.
func TestSecureQuietWithTickets(t *testing.T) {
	authority := certtest.NewAuthority(t)
	// One that asks for a certificate sends the ticket after the handshake, not within.
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{authority.Issue([]string{"a.example"})}, ClientAuth: tls.RequestClientCert})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := Over(raw)
	defer conn.Close()
	conn.Secure(tls.Client, &tls.Config{RootCAs: authority.Pool, ServerName: "a.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)}, nil)
	if err := conn.Handshake(time.Now().Add(10*time.Second), nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if came, quiet := !conn.socket.Quiet(), conn.Quiet(); !came || !quiet {
		t.Errorf("got %v, %v, want a ticket to have come, and the connection to be quiet", came, quiet)
	}
}

// A peer that reads slowly gets all of it, and one that reads nothing ends the write.
func TestSecureDeliver(t *testing.T) {
	server, client, below := securePair(t, 0)
	_ = server.netConn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	_ = below.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	const size = 2 << 20
	var got atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 8<<10)
		for got.Load() < size {
			n, err := client.Read(b)
			if err != nil {
				return
			}
			got.Add(int64(n))
			time.Sleep(time.Millisecond)
		}
	}()
	if n, err := server.Deliver(time.Now(), make([]byte, size), 2*time.Second); n != size || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	<-ended
	if got.Load() != size {
		t.Errorf("%d bytes came", got.Load())
	}
	n, slow := server.Offer(make([]byte, 8*size))
	if n == 0 || n == 8*size || !slow {
		t.Errorf("the system took %d bytes, %v", n, slow)
	}
	if n, err := server.Deliver(time.Now(), make([]byte, 8*size), 100*time.Millisecond); n == 8*size || !TimedOut(err) {
		t.Errorf("got %d, %v", n, err)
	}
}

// How it ends is what the client sees: a regular end, or an interruption.
func TestSecureEnd(t *testing.T) {
	var hurry atomic.Bool
	hurry.Store(true)
	for how, want := range map[Ending]error{Close: io.EOF, Linger: io.EOF, Reset: syscall.ECONNRESET} {
		server, client, _ := securePair(t, 0)
		go func() { _ = server.End(how, &hurry) }()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("%v: got %v, want %v", how, err, want)
		}
	}
}

// A handshake that waits for its client does not keep others from theirs.
func TestGateIsForThoseThatCompute(t *testing.T) {
	gate := NewGate(1)
	config := &tls.Config{Certificates: []tls.Certificate{certtest.NewAuthority(t).Issue([]string{"a.example"})}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			accepted, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				c := Over(accepted)
				c.Secure(tls.Server, config, nil)
				_ = c.Handshake(time.Now().Add(time.Minute), gate)
				_ = c.Close()
			}()
		}
	}()
	for range 10 {
		silent, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	time.Sleep(20 * time.Millisecond)
	client, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}

// In the steady state a read and a write over TLS allocate nothing of the balancer's own.
func TestSecureAllocations(t *testing.T) {
	server, client, _ := securePair(t, 0)
	go func() { _, _ = io.Copy(client, client) }()
	b := make([]byte, 100)
	now := time.Now()
	got := testing.AllocsPerRun(200, func() {
		server.ExpectRead(now, time.Minute)
		if _, err := server.Deliver(now, b, time.Minute); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(server, b); err != nil {
			t.Error(err)
		}
	})
	const standardLibrary = 4 // both ends' reads of a record, one for each
	if got > standardLibrary {
		t.Errorf("%v allocations", got)
	}
}

// TestExpectCloseNotify: an end that the peer has not announced is another one for those that ask,
// and io.EOF or io.ErrUnexpectedEOF for those that do not.
func TestExpectCloseNotify(t *testing.T) {
	for _, test := range []struct {
		name          string
		end           func(client *tls.Conn)
		plain, strict error
	}{
		{"close_notify", func(c *tls.Conn) { c.Close() }, io.EOF, io.EOF},
		{"close_notify alone", func(c *tls.Conn) { _ = c.CloseWrite() }, io.EOF, io.EOF},
		{"FIN alone", func(c *tls.Conn) { c.NetConn().Close() }, io.EOF, errCut},
		{"FIN within a record", func(c *tls.Conn) { _, _ = c.NetConn().Write([]byte{23, 3, 3}); c.NetConn().Close() }, io.ErrUnexpectedEOF, errCut},
	} {
		for _, strict := range []bool{false, true} {
			conn, client, _ := securePair(t, 0)
			want := test.plain
			if strict {
				conn.ExpectCloseNotify()
				want = test.strict
			}
			if _, err := io.WriteString(client, "hello"); err != nil {
				t.Fatal(err)
			}
			test.end(client)
			conn.ExpectRead(time.Now(), 10*time.Second)
			got := make([]byte, 8)
			n, err := io.ReadFull(conn, got[:5])
			if string(got[:n]) != "hello" || err != nil {
				t.Errorf("%s: got %q, %v", test.name, got[:n], err)
			}
			for range 2 {
				if n, err := conn.Read(got); n != 0 || err != want {
					t.Errorf("%s, strict %t: got %d bytes, %v, want %v", test.name, strict, n, err, want)
				}
			}
		}
	}
}
