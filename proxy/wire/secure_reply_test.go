package wire

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/certtest"
)

// A client that asks for other keys gets them, although the deadline of the write before has passed.
func TestKeysAreRenewed(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", ln.Addr().String(), "-tls1_3")
	input, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { input.Close(); _ = client.Wait() }()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	server := new(Conn)
	*server = Over(accepted)
	server.Secure(tls.Server, &tls.Config{Certificates: []tls.Certificate{certtest.NewAuthority(t).Issue([]string{"a.example"})}}, nil)
	if err := server.Handshake(time.Now().Add(20*time.Second), nil); err != nil {
		t.Fatal(err)
	}
	deliver := func(timeout time.Duration) {
		t.Helper()
		if _, err := server.Deliver(time.Now(), []byte("an answer\n"), timeout); err != nil {
			t.Fatal(err)
		}
	}
	deliver(time.Second)
	time.Sleep(1500 * time.Millisecond)
	_, _ = io.WriteString(input, "K\n") // another key, and one from the server
	time.Sleep(100 * time.Millisecond)
	_, _ = io.WriteString(input, "next\n")
	_ = server.SetReadDeadline(time.Now().Add(20 * time.Second))
	if line, err := bufio.NewReader(struct{ io.Reader }{server}).ReadString('\n'); line != "next\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	deliver(20 * time.Second)
	_ = server.Close()
	if got, err := io.ReadAll(output); err != nil || strings.Count(string(got), "an answer\n") != 2 {
		t.Errorf("the client got %s, %v", got, err)
	}
}

// A read is not held up by a peer that does not take what TLS answers.
func TestReplyDoesNotWait(t *testing.T) {
	server, _, _ := securePair(t, 0)
	if !server.Tells() {
		t.Skip("only Linux can write without waiting")
	}
	full := make([]byte, 1<<20)
	for slow := false; !slow; {
		_, slow = server.socket.Offer(full)
	}
	done := make(chan error, 1)
	go func() {
		_, err := server.secure.below.Write(make([]byte, 100))
		done <- err
	}()
	select {
	case err := <-done:
		if err != errReply {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the answer waits for the peer")
	}
}
