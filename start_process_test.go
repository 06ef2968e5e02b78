package main

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/clients/store"
)

// silentStore is a section with a PostgreSQL that takes connections and never says a word.
func silentStore(t *testing.T) string {
	t.Helper()
	return "clients:\n  store: postgres://lb:secret@" + listenLoopback(t).Addr().String() + "/lb\n  snapshot: \"\"\n  connect_timeout: 1h\n"
}

// heldFile returns a file for a store, which no process can open before it is closed.
func heldFile(t *testing.T) *os.File {
	t.Helper()
	path := t.TempDir() + "/clients.db"
	made, err := store.OpenFile(path, store.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return file
}

// requireRefused expects that nothing listens on an address.
func requireRefused(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a client of %s gets %v, want a refused connection", address, err)
	}
}

// requireAwaitsStore expects of a process that waits for its store what its management side has to
// answer then.
func requireAwaitsStore(t *testing.T, management string) {
	t.Helper()
	if a := call(t, "GET", management+"/healthz", ""); a.status != 200 || a.body != "ok\n" { // after the head start
		t.Errorf("/healthz answers %+v", a)
	}
	for path, want := range map[string]answer{
		"/readyz":              {status: 503, body: "not ready: waiting for the client store\n"},
		"/metrics":             {status: 200, body: "\nlb_store_up 0\n"},
		"/v1/api/swagger.yaml": {status: 200, body: "openapi: "},
		"/v1/api/clients/":     {status: 503, body: `"detail":"the load balancer does not serve yet: it is waiting for the client store"`},
		"/v1/api/backends":     {status: 503, body: "waiting for the client store"},
	} {
		began := time.Now()
		got := call(t, "GET", management+path, "")
		if got.status != want.status || !strings.Contains(got.body, want.body) {
			t.Errorf("%s answers %+v, want %+v", path, got, want)
		}
		if isProblem := strings.HasPrefix(got.body, "{"); isProblem && got.header.Get("Retry-After") != "1" {
			t.Errorf("%s answers with the header %v", path, got.header)
		}
		if took := time.Since(began); took > time.Second { // the store is not asked
			t.Errorf("%s answered after %s", path, took)
		}
	}
	for _, o := range apiCalls.Operations() {
		if a := call(t, o.Method, management+o.Target(), ""); o.Tag != "description" && a.status != 503 {
			t.Errorf("%s %s answers %+v", o.Method, o.Target(), a)
		}
	}
}

func testAwaitsSilentStore(t *testing.T, built programs) {
	addresses, socket := freeAddresses(t, 3), listenNotify(t)
	path := writeConfig(t, testConfig(t, addresses[:1], silentStore(t), "server:\n  listen: "+addresses[1]+"\nmanagement:\n  listen: "+addresses[2]+"\n"))
	p := startProcess(t, "env", "NOTIFY_SOCKET="+socket.path, built.lb, "--demo", "--path="+path)
	waitFor(t, "the management side", func() bool { return p.stdout.find("management") != nil })
	requireAwaitsStore(t, "http://"+addresses[2])
	requireRefused(t, addresses[1])
	requireHealthcheck(t, built, path, 1, "answered 503: not ready: waiting for the client store")
	p.signal(t, syscall.SIGHUP)
	began := time.Now()
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it ended %s after the signal", took)
	}
	if line := p.stdout.find("stopped before it served"); line["cause"] != "SIGTERM" {
		t.Errorf("the log says of the end %v", line)
	}
	if told := socket.next(t, time.Millisecond); told != "" {
		t.Errorf("systemd was told %q", told)
	}
}

// testStoreComes has another process hold the file of the store, and let go of it.
func testStoreComes(t *testing.T, built programs) {
	file := heldFile(t)
	addresses, socket := freeAddresses(t, 3), listenNotify(t)
	config := testConfig(t, addresses[:1], "clients:\n  store: file:"+file.Name()+"\n", "server:\n  listen: "+addresses[1]+"\nmanagement:\n  listen: "+addresses[2]+"\n")
	path := writeConfig(t, config)
	p := startProcess(t, "env", "NOTIFY_SOCKET="+socket.path, built.lb, "--demo", "--path="+path)
	waitFor(t, "the management side", func() bool { return p.stdout.find("management") != nil })
	requireAwaitsStore(t, "http://"+addresses[2])
	requireRefused(t, addresses[1])
	if err := os.WriteFile(path, []byte(strings.Replace(config, "server:\n", "server:\n  via: later\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	if told := socket.next(t, 100*time.Millisecond); told != "" {
		t.Errorf("systemd was told %q while clients are refused", told)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	socket.require(t, ready)
	if a := call(t, "GET", "http://"+addresses[1], ""); a.status != 200 {
		t.Errorf("a request got %+v", a)
	}
	if a := call(t, "GET", "http://"+addresses[2]+"/v1/api/clients/", ""); a.body != "[]\n" {
		t.Errorf("a call got %+v", a)
	}
	requireHealthcheck(t, built, path, 0)
	waitFor(t, "the reload that was asked for before", func() bool { return strings.Contains(p.stdout.String(), "→ later") })
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
}

// testHeadStart: what waits for /healthz may send requests, unless the start takes longer than the
// head start, as it may on a busy machine.
func testHeadStart(t *testing.T, built programs) {
	file := heldFile(t)
	addresses := freeAddresses(t, 3)
	serveBackend(t, addresses[0])
	began := time.Now()
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, addresses[:1],
		"clients:\n  store: file:"+file.Name()+"\n", "server:\n  listen: "+addresses[1]+"\nmanagement:\n  listen: "+addresses[2]+"\n")))
	waitFor(t, "the management side", func() bool { return p.stdout.find("management") != nil })
	time.AfterFunc(100*time.Millisecond, func() { _ = file.Close() })
	if a := call(t, "GET", "http://"+addresses[2]+"/healthz", ""); a.status != 200 {
		t.Errorf("/healthz answers %+v", a)
	}
	if took := time.Since(began); took > time.Second {
		t.Skipf("the start took %s", took)
	}
	for _, url := range []string{"http://" + addresses[1], "http://" + addresses[2] + "/v1/api/clients/"} {
		if a := call(t, "GET", url, ""); a.status != 200 {
			t.Errorf("%s answers %+v", url, a)
		}
	}
}

// testFailsInHeadStart: what fails within the head start has answered nothing, /healthz neither.
func testFailsInHeadStart(t *testing.T, built programs) {
	file, management := heldFile(t), freeAddresses(t, 1)[0]
	if err := os.Truncate(file.Name(), 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1),
		"clients:\n  store: file:"+file.Name()+"\n", "management:\n  listen: "+management+"\n")))
	waitFor(t, "the management side", func() bool { return p.stdout.find("management") != nil })
	time.AfterFunc(100*time.Millisecond, func() { _ = file.Close() })
	a, err := tryCall("GET", "http://"+management+"/healthz", "")
	if took := time.Since(began); took > headStart {
		t.Skipf("the start took %s", took)
	}
	if err == nil {
		t.Errorf("/healthz answers %+v", a)
	}
	p.requireExit(t, 1, "lb: ", "is damaged")
}

// testAwaitsFront has another process hold server.listen, and nothing else.
func testAwaitsFront(t *testing.T, built programs) {
	held, management := listenLoopback(t).Addr().String(), freeAddresses(t, 1)[0]
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), "server:\n  listen: "+held+"\nmanagement:\n  listen: "+management+"\n")))
	waitFor(t, "it to wait", func() bool { return p.stdout.find("waiting for a port that another process holds") != nil })
	if a := call(t, "GET", "http://"+management+"/readyz", ""); a.status != 503 || a.body != "not ready: waiting for server.listen\n" {
		t.Errorf("/readyz answers %+v", a)
	}
	p.requireExit(t, 1, "lb: server.listen: "+held+" is held by ")
}

// testHeldIsToldEarly: a port that is taken is told before the store, which may not come for long.
func testHeldIsToldEarly(t *testing.T, built programs) {
	if runtime.GOOS != "linux" {
		t.Skip("the holder of a port is known on Linux alone")
	}
	held := listenLoopback(t).Addr().String()
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), silentStore(t), "server:\n  listen: "+held+"\n")))
	const message = "another process holds the port of clients, and has to give it up when the client store is there"
	waitFor(t, "the warning", func() bool { return p.stdout.find(message) != nil })
	if line := p.stdout.find(message); !strings.Contains(line["held"].(string), "server.listen: "+held+" is held by ") {
		t.Errorf("the log says %v", line)
	}
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
}

// testSuccessorIsLoaded: where several processes can have the store open, a successor has loaded it
// when its predecessor gives up the addresses.
func testSuccessorIsLoaded(t *testing.T, built programs) {
	addresses := freeAddresses(t, 3)
	path := writeConfig(t, testConfig(t, addresses[:1], "clients:\n  store: memory\n", "server:\n  listen: "+addresses[1]+"\nmanagement:\n  listen: "+addresses[2]+"\n"))
	serveBackend(t, addresses[0])
	first := startProcess(t, built.lb, "--path="+path)
	waitFor(t, "the first to serve", func() bool { return first.stdout.find("proxy") != nil })
	second := startProcess(t, built.lb, "--path="+path)
	waitFor(t, "the second to wait with its clients loaded", func() bool {
		return second.stdout.find("waiting for a port that another process holds") != nil && second.stdout.find("clients loaded") != nil
	})
	if a := call(t, "GET", "http://"+addresses[1], ""); a.status != 200 {
		t.Errorf("a request to the first got %+v", a)
	}
	first.signal(t, syscall.SIGTERM)
	first.requireExit(t, 0)
	waitFor(t, "the second to serve", func() bool { return second.stdout.find("proxy") != nil })
	if a := call(t, "GET", "http://"+addresses[1], ""); a.status != 200 {
		t.Errorf("a request to the second got %+v", a)
	}
}

// testSocketAwaitsStore has two processes share a socket of systemd. The one that waits for its store
// takes no connection, and those that nobody else takes wait in the socket's queue.
func testSocketAwaitsStore(t *testing.T, built programs) {
	front, addresses := listenLoopback(t), freeAddresses(t, 3)
	serveBackend(t, addresses[0])
	url := "http://" + front.Addr().String()
	at := func(management, store string) string {
		return testConfig(t, addresses[:1], "management:\n  listen: "+management+"\n", store)
	}
	first := startActivated(t, built, at(addresses[1], "clients:\n  store: memory\n"), []string{"server.listen"}, front)
	waitFor(t, "the first to serve", func() bool { return first.stdout.find("proxy") != nil })
	second := startActivated(t, built, at(addresses[2], silentStore(t)), []string{"server.listen"}, front)
	waitFor(t, "the second to wait", func() bool { return second.stdout.find("management") != nil })
	requireAwaitsStore(t, "http://"+addresses[2])
	for range 50 {
		if a := call(t, "GET", url, ""); a.status != 200 {
			t.Fatalf("a request got %+v", a)
		}
	}
	first.signal(t, syscall.SIGTERM)
	first.requireExit(t, 0)
	waiting, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if _, err := waiting.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	second.signal(t, syscall.SIGTERM)
	second.requireExit(t, 0)
	startActivated(t, built, at(addresses[1], "clients:\n  store: memory\n"), []string{"server.listen"}, front)
	if err := waiting.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	var status [12]byte
	if n, err := waiting.Read(status[:]); string(status[:n]) != "HTTP/1.1 200" {
		t.Errorf("the request that waited got %q, %v", status[:n], err)
	}
}
