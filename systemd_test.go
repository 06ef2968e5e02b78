package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// notifySocket plays systemd: it receives what a service tells.
type notifySocket struct {
	*net.UnixConn
	path string
}

func listenNotify(t *testing.T) notifySocket {
	t.Helper()
	path := socketDir(t) + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return notifySocket{conn, path}
}

// next returns the next message, or "" if there is none within the time.
func (s notifySocket) next(t *testing.T, within time.Duration) string {
	t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	var message [1 << 10]byte
	n, err := s.Read(message[:])
	if err != nil {
		return ""
	}
	return string(message[:n])
}

// require waits for a message that matches. Signs of life may come before it; their number is
// returned.
func (s notifySocket) require(t *testing.T, pattern string) (alive int) {
	t.Helper()
	for {
		got := s.next(t, deadline)
		switch {
		case regexp.MustCompile("^" + pattern + "$").MatchString(got):
			return alive
		case got != "WATCHDOG=1":
			t.Fatalf("systemd was told %q, want %s", got, pattern)
		}
		alive++
	}
}

const (
	ready     = "READY=1"
	reloading = `RELOADING=1\nMONOTONIC_USEC=\d+\n`
	stopping  = "STOPPING=1"
	lives     = "WATCHDOG=1"
)

// testSystemd runs the balancer as a service of Type=notify with WatchdogSec=.
func testSystemd(t *testing.T, built programs) {
	address, arrived, release := slowBackend(t)
	listen := freeAddresses(t, 1)[0]
	config := testConfig(t, []string{address}, "server:\n  listen: "+listen+"\n")
	path := writeConfig(t, config)
	socket := listenNotify(t)
	p := startProcess(t, "env", "NOTIFY_SOCKET="+socket.path, "WATCHDOG_USEC=200000", built.lb, "--path="+path)
	socket.require(t, ready)
	if a := call(t, "GET", "http://"+listen, ""); a.status != 200 { // at once
		t.Errorf("a service that was ready answered %+v", a)
	}
	began := time.Now()
	socket.require(t, lives)
	socket.require(t, lives)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("two signs of life came within %s, want one every 100ms", took)
	}
	p.signal(t, syscall.SIGHUP)
	socket.require(t, reloading)
	socket.require(t, ready)
	if err := os.WriteFile(path, []byte("pools: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP) // fails, and the process serves on
	socket.require(t, reloading)
	socket.require(t, ready)

	answered := getSlow("http://"+listen, arrived)
	p.signal(t, syscall.SIGTERM)
	socket.require(t, stopping)
	socket.require(t, lives) // while it drains
	release()
	<-answered
	p.requireExit(t, 0)
	for rest := socket.next(t, time.Millisecond); rest != ""; rest = socket.next(t, time.Millisecond) {
		if rest != lives {
			t.Errorf("systemd was told %q after the stop", rest)
		}
	}
}

// A service that cannot start is never ready, and one without systemd's socket starts all the same.
func testSystemdFailedStart(t *testing.T, built programs) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	socket := listenNotify(t)
	config := testConfig(t, freeAddresses(t, 1), "server:\n  listen: "+taken.Addr().String()+"\n")
	p := startProcess(t, "env", "NOTIFY_SOCKET="+socket.path, built.lb, "--path="+writeConfig(t, config))
	p.requireExit(t, 1, "server.listen: ")
	if told := socket.next(t, time.Millisecond); told != "" {
		t.Errorf("systemd was told %q", told)
	}
	p = startProcess(t, "env", "NOTIFY_SOCKET="+socket.path+".gone", "WATCHDOG_USEC=x", built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1))))
	waitFor(t, "the start", func() bool { return p.stdout.find("proxy") != nil })
	if line := p.stdout.find("systemd is not told of the start and the end: its socket cannot be opened"); line["level"] != "warn" {
		t.Errorf("the log lacks a warning:\n%s", p.stdout)
	}
}

// A part that hangs gives no sign of life.
func TestSupervisorOfAHungPart(t *testing.T) {
	socket := listenNotify(t)
	t.Setenv("NOTIFY_SOCKET", socket.path)
	t.Setenv("WATCHDOG_USEC", "20000")
	s := findSupervisor(zerolog.Nop())
	defer s.close()
	ctx, cancel := context.WithCancel(t.Context())
	hung, called := make(chan bool), make(chan bool)
	s.ready()
	end := beside(func(ended context.Context) {
		s.run(ctx, ended, func() { called <- true; <-hung })
	})
	socket.require(t, ready)
	<-called
	if told := socket.next(t, 100*time.Millisecond); told != "" {
		t.Errorf("while a part hangs, systemd was told %q", told)
	}
	close(hung)
	go func() { // lets later calls return
		for range called {
		}
	}()
	socket.require(t, lives)
	cancel()
	socket.require(t, stopping)
	s.ready() // of a reload that ends after the stop has begun
	s.reloading()
	end()
	close(called)
	for told := socket.next(t, time.Millisecond); told != ""; told = socket.next(t, time.Millisecond) {
		if told != lives {
			t.Errorf("systemd was told %q after the stop", told)
		}
	}
}

// startActivated starts the balancer with listening sockets, as systemd does.
func startActivated(t *testing.T, built programs, config string, names []string, listeners ...interface{ File() (*os.File, error) }) *process {
	t.Helper()
	command := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", built.lb, "--path="+writeConfig(t, config))
	command.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(listeners)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	for _, ln := range listeners {
		file, err := ln.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		command.ExtraFiles = append(command.ExtraFiles, file)
	}
	return startJournaled(t, command)
}

func listenLoopback(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener)
}

// Sockets that systemd passes on stand in for the addresses of the file. They outlive the process.
func testSystemdSockets(t *testing.T, built programs) {
	backend, _, _ := slowBackend(t)
	front, path := listenLoopback(t), socketDir(t)+"/management"
	back, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	free := freeAddresses(t, 1)[0]
	config := testConfig(t, []string{backend}, "server:\n  listen: "+free+"\nmanagement:\n  listen: unix:"+path+"\n")
	names := []string{"management.listen", "server.listen"}
	for range 2 { // a restart on the same sockets
		p := startActivated(t, built, config, names, back.(*net.UnixListener), front)
		if a := call(t, "GET", "http://"+front.Addr().String(), ""); a.status != 200 { // waits in the socket's queue
			t.Errorf("got %+v", a)
		}
		waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
		if line := p.stdout.find("proxy"); line["listen"] != front.Addr().String() {
			t.Errorf("the log says %v", line)
		}
		if conn, err := net.Dial("tcp", free); err == nil {
			conn.Close()
			t.Error("it listens on the address of the file, too")
		}
		requireHealthcheck(t, built, writeConfig(t, config), 0)
		p.signal(t, syscall.SIGTERM)
		p.requireExit(t, 0)
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the process has removed systemd's socket: %v", err)
		}
	}
}

func testSystemdWrongSockets(t *testing.T, built programs) {
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	config := testConfig(t, freeAddresses(t, 1))
	a, b := listenLoopback(t), listenLoopback(t)
	startActivated(t, built, config, []string{"lb.socket"}, a).
		requireExit(t, 1, "a socket on that is named lb.socket: set FileDescriptorName= to one of server.listen, server.tls.listen, server.tls.redirect_from, management.listen")
	startActivated(t, built, config, []string{"server.listen", "server.listen"}, a, b).
		requireExit(t, 1, "two sockets on for server.listen")
	startActivated(t, built, config, []string{"server.listen"}, datagrams.(*net.UDPConn)).
		requireExit(t, 1, "the socket server.listen that systemd passes on is none to accept connections from")
	off := testConfig(t, freeAddresses(t, 1), "management:\n  listen: \"\"\n")
	startActivated(t, built, off, []string{"management.listen"}, a).
		requireExit(t, 1, `management.listen, which is "" in the config`)
}
