package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programs are the paths of the built commands.
type programs struct{ lb, bench string }

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", ".", "./bench").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	built := programs{filepath.Join(dir, "loadbalancer"), filepath.Join(dir, "bench")}
	for name, test := range map[string]func(*testing.T, programs){
		"exit codes":                  testExitCodes,
		"commands":                    testCommands,
		"version":                     testVersion,
		"healthcheck":                 testHealthcheck,
		"healthcheck of no answer":    testHealthcheckUnanswered,
		"healthcheck of a bad file":   testHealthcheckBadFile,
		"fatal error in the log":      testFatalErrorLogged,
		"top":                         testTop,
		"ends of top":                 testTopEnds,
		"port taken":                  testPortTaken,
		"any user of group 0":         testAnyUser,
		"read-only root":              testReadOnlyRoot,
		"systemd":                     testSystemd,
		"systemd at a failed start":   testSystemdFailedStart,
		"systemd's sockets":           testSystemdSockets,
		"systemd's sockets, wrong":    testSystemdWrongSockets,
		"systemd's sockets of TLS":    testSystemdEdgeSockets,
		"signals":                     testSignals,
		"second signal":               testSecondSignal,
		"shutdown timeout":            testShutdownTimeout,
		"log":                         testLog,
		"log without a reader":        testLogReaderGone,
		"log with a stalled reader":   testLogReaderStalled,
		"log before a failure":        testLogBeforeFailure,
		"hangup":                      testHangup,
		"watch":                       testWatch,
		"watch without inotify":       testWatchWithoutInotify,
		"hangup at the start":         testHangupAtStart,
		"reload while it ends":        testReloadWhileItEnds,
		"reloads":                     testReloads,
		"moves under load":            testMovesUnderLoad,
		"name moves under load":       testNameMovesUnderLoad,
		"address of a name dies":      testAddressDies,
		"successor":                   testSuccessor,
		"restart under load":          testRestartUnderLoad,
		"restart over TLS under load": testSecureRestartUnderLoad,
		"restart in HTTP/2":           testHTTP2RestartUnderLoad,
		"memory of idle TLS":          testSecureMemory,
		"tunnel at the end":           testTunnelAtTheEnd,
		"PostgreSQL unreachable":      testPostgresUnreachable,
		"ended while awaiting it":     testEndedWhileAwaitingPostgres,
		"backend killed under load":   testBackendKilled,
		"causes of failed checks":     testCheckCauses,
		"backend killed at a rate":    testBackendKilledAtRate,
		"backend frozen under load":   testBackendFrozen,
		"backend that fails fast":     testBackendFailsFast,
		"backend that comes back":     testBackendReturns,
		"rolling restart":             testRollingRestart,
		"attacker":                    testAttacker,
		"attackers":                   testAttackers,
		"time to the first response":  testTimeToFirstResponse,
		"awaits a silent store":       testAwaitsSilentStore,
		"the store comes":             testStoreComes,
		"awaits server.listen":        testAwaitsFront,
		"head start":                  testHeadStart,
		"failure in the head start":   testFailsInHeadStart,
		"a port held is told early":   testHeldIsToldEarly,
		"successor is loaded":         testSuccessorIsLoaded,
		"socket awaits the store":     testSocketAwaitsStore,
		"clients outlive kill -9":     testKilled,
		"second instance on the file": testSecondInstance,
		"out of file descriptors":     testOutOfDescriptors,
		"first day":                   testFirstDay,
		"backends by hand":            testBackendsByHand,
		"explain":                     testExplain,
		"cgroup":                      testCgroup,
		"deploy under load":           testDeployUnderLoad,
		"drain of an address":         testDrainOfAddress,
		"drain outlives kill -9":      testDrainOutlivesKill,
		"drain before a takeover":     testDrainBeforeTakeover,
		"sticky drain under load":     testStickyDrainUnderLoad,
		"few file descriptors":        testFewDescriptors,
		"fleet behind HAProxy":        testFleet,
		"docs/fleet.md":               testFleetPage,
		"shared limits":               testSharedLimits,
		"shared limits at the end":    testSharedLimitsAtTheEnd,
		"shared limits, Redis frozen": testSharedLimitsFrozen,
	} {
		t.Run(name, func(t *testing.T) { test(t, built) })
	}
}

// process is a command that runs.
type process struct {
	*exec.Cmd
	stdout, stderr *journal
	ended          chan struct{}
}

// startProcess starts a command. It is killed at the end of the test at the latest.
func startProcess(t *testing.T, command string, args ...string) *process {
	t.Helper()
	return startJournaled(t, exec.Command(command, args...))
}

// startJournaled is startProcess for a command that has an environment or files of its own.
func startJournaled(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	stdout, stderr := &journal{}, &journal{}
	p := runProcess(t, stdout, stderr, command)
	p.stdout, p.stderr = stdout, stderr
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s%s", command.Path, stdout, stderr)
		}
	})
	return p
}

// startProcessTo is startProcess with writers of the caller's. A file gets what is written without
// a detour.
func startProcessTo(t *testing.T, stdout, stderr io.Writer, command string, args ...string) *process {
	t.Helper()
	return runProcess(t, stdout, stderr, exec.Command(command, args...))
}

func runProcess(t *testing.T, stdout, stderr io.Writer, command *exec.Cmd) *process {
	t.Helper()
	p := &process{command, nil, nil, make(chan struct{})}
	p.Stdout, p.Stderr = stdout, stderr
	if p.Dir == "" {
		p.Dir = t.TempDir()
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait() // the exit code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill() // fails where it has ended
		<-p.ended
	})
	return p
}

// startLB starts the balancer and waits until it serves. url is the proxy's.
func startLB(t *testing.T, built programs, config string, args ...string) (p *process, url string) {
	t.Helper()
	p = startProcess(t, built.lb, append([]string{"--path=" + writeConfig(t, config)}, args...)...)
	waitFor(t, "the log line of the proxy", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("it ended: %s%s", p.stdout, p.stderr)
		default:
		}
		return p.stdout.find("proxy") != nil
	})
	return p, "http://" + p.stdout.find("proxy")["listen"].(string)
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// requireExit waits for the end and checks the exit code and what stderr holds.
func (p *process) requireExit(t *testing.T, code int, words ...string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		t.Fatalf("it does not end:\n%s%s", p.stdout, p.stderr)
	}
	if got := p.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d: %s", got, code, p.stderr)
	}
	for _, word := range words {
		if !strings.Contains(p.stderr.String(), word) {
			t.Errorf("stderr is %q, want %q in it", p.stderr, word)
		}
	}
	if len(words) == 0 && p.stderr.String() != "" {
		t.Errorf("stderr is %q", p.stderr)
	}
}

func testPortTaken(t *testing.T, built programs) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	want := taken.Addr().String() + " is "
	if runtime.GOOS == "linux" {
		name, err := os.ReadFile("/proc/self/comm")
		if err != nil {
			t.Fatal(err)
		}
		want += fmt.Sprintf("held by %s (pid %d)", strings.TrimSpace(string(name)), os.Getpid())
	}
	for _, section := range []string{"server", "management"} {
		config := testConfig(t, freeAddresses(t, 1), section+":\n  listen: "+taken.Addr().String()+"\n")
		p := startProcess(t, built.lb, "--path="+writeConfig(t, config))
		p.requireExit(t, 1, "lb: "+section+".listen: "+want, "choose another address")
	}
}

// slowBackend answers /slow only when released, and tells when one has arrived.
func slowBackend(t *testing.T) (address string, arrived <-chan bool, release func()) {
	t.Helper()
	arrivals, released := make(chan bool), make(chan bool)
	release = sync.OnceFunc(func() { close(released) })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrivals <- true
			<-released
		}
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(s.Close)
	t.Cleanup(release)
	return s.Listener.Addr().String(), arrivals, release
}

// getSlow starts a request and returns when it is at the backend.
func getSlow(url string, arrived <-chan bool) <-chan answer {
	answered := make(chan answer, 1)
	go func() {
		a, _ := tryCall("GET", url+"/slow", "")
		answered <- a
	}()
	<-arrived
	return answered
}

func testSignals(t *testing.T, built programs) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			address, arrived, release := slowBackend(t)
			p, url := startLB(t, built, testConfig(t, []string{address}, "server:\n  listen: 127.0.0.1:0\n  shutdown_delay: 150ms\n"))
			answered := getSlow(url, arrived)
			p.signal(t, signal)
			waitFor(t, "the listener to close", func() bool {
				_, err := tryCall("GET", url, "")
				return err != nil
			})
			release()
			if a := <-answered; a.status != 200 || a.body != "done" {
				t.Errorf("the request that was under way got %+v", a)
			}
			p.requireExit(t, 0)
			want := map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"}[signal]
			if line := p.stdout.find("shutting down"); line["cause"] != want || line["shutdown_delay"] != "150ms" {
				t.Errorf("the log says of the signal %v", line)
			}
		})
	}
}

func testSecondSignal(t *testing.T, built programs) {
	address, arrived, release := slowBackend(t)
	p, url := startLB(t, built, testConfig(t, []string{address}))
	answered := getSlow(url, arrived)
	p.signal(t, syscall.SIGTERM)
	waitFor(t, "the listener to close", func() bool {
		_, err := tryCall("GET", url, "")
		return err != nil
	})
	p.signal(t, syscall.SIGINT)
	p.requireExit(t, 1, secondSignal)
	if line := p.stdout.find(secondSignal); line["level"] != "error" {
		t.Errorf("the log has no line of the second signal:\n%s", p.stdout)
	}
	release()
	<-answered
}

func testShutdownTimeout(t *testing.T, built programs) {
	address, arrived, release := slowBackend(t)
	p, url := startLB(t, built, testConfig(t, []string{address}, "server:\n  listen: 127.0.0.1:0\n  shutdown_timeout: 100ms\nlog:\n  access: all\n"))
	answered := getSlow(url, arrived)
	p.signal(t, syscall.SIGTERM)
	const failure = "1 requests were still running after server.shutdown_timeout (100ms) and were cut"
	p.requireExit(t, 1, "lb: "+failure)
	messages := p.stdout.messages(t)
	want := []string{"shutting down", "draining", "cut what was still running at the shutdown timeout", "request", "counters", "stopped", failure}
	if n := len(messages) - len(want); n < 0 || !slices.Equal(messages[n:], want) {
		t.Errorf("the messages are %q, want %q at the end", messages, want)
	}
	for _, message := range want[1:3] {
		if line := p.stdout.find(message); line["requests"] != 1.0 || line["tunnels"] != 0.0 || line["shutdown_timeout"] != "100ms" {
			t.Errorf("the log has %v", line)
		}
	}
	release()
	<-answered
}

func testLog(t *testing.T, built programs) {
	p, url := startLB(t, built, testConfig(t, freeAddresses(t, 2), "log:\n  access: all\n"), "--demo")
	if a := call(t, "GET", url+"/here?a=b", ""); a.status != 200 {
		t.Errorf("got %+v", a)
	}
	waitFor(t, "the line of the request, which follows its answer", func() bool { return p.stdout.find("request") != nil })
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	messages := p.stdout.messages(t)
	slices.Sort(messages[1:min(3, len(messages))]) // they come in any order
	want := []string{"management", "clients loaded", "demo backends", "proxy", "request", "shutting down", "draining", "counters", "stopped"}
	if !slices.Equal(messages, want) {
		t.Errorf("the messages are %q, want %q", messages, want)
	}
	if got := p.stdout.find("request"); got["path"] != "/here" || got["status"] != 200.0 {
		t.Errorf("the access log has %v", got)
	}

	console := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), "log:\n  format: console\n")))
	waitFor(t, "a readable line", func() bool { return strings.Contains(console.stdout.String(), "limits=") })
	if strings.Contains(console.stdout.String(), "{") {
		t.Errorf("format: console writes %s", console.stdout)
	}
}

// noPostgres is a store that refuses connections.
const noPostgres = "clients:\n  store: postgres://user:secret@127.0.0.1:1/db\n  snapshot: \"\"\n  connect_timeout: "

// testPostgresUnreachable: after the timeout, clients are served with the default limits.
func testPostgresUnreachable(t *testing.T, built programs) {
	backends := freeAddresses(t, 1)
	serveBackend(t, backends[0])
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, backends, noPostgres+"1s\n")))
	waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
	if strings.Count(p.stdout.String(), "trying again") < 2 || p.stdout.find("clients loaded") != nil ||
		p.stdout.find("PostgreSQL is unavailable: serving with the default limits; no registered limit or block holds") == nil {
		t.Errorf("the log is %s", p.stdout)
	}
	proxy, management := "http://"+p.stdout.find("proxy")["listen"].(string), "http://"+p.stdout.find("management")["listen"].(string)
	waitFor(t, "the backend", func() bool { return call(t, "GET", proxy, "").status == 200 })
	for path, want := range map[string]answer{
		"/readyz":          {status: 200, body: "no registered limit or block holds\n"},
		"/metrics":         {status: 200, body: "\nlb_store_up 0\n"},
		"/v1/api/clients/": {status: 503, body: `"status":503`},
	} {
		if got := call(t, "GET", management+path, ""); got.status != want.status || !strings.Contains(got.body, want.body) {
			t.Errorf("%s answers %+v, want %+v", path, got, want)
		}
	}
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	if text := p.stdout.String() + p.stderr.String(); strings.Contains(text, "secret") {
		t.Errorf("the password is shown: %s", text)
	}
}

func testEndedWhileAwaitingPostgres(t *testing.T, built programs) {
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), noPostgres+"1h\n")))
	waitFor(t, "the first attempt", func() bool { return strings.Contains(p.stdout.String(), "trying again") })
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	if line := p.stdout.find("stopped before it served"); line["cause"] != "SIGTERM" {
		t.Errorf("the log says of the end %v", line)
	}
}

func testKilled(t *testing.T, built programs) {
	config := testConfig(t, freeAddresses(t, 1))
	p, url := startLB(t, built, config, "--demo")
	if a := call(t, "POST", url+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":5,"rate_per_second":0.1}`); a.status != 201 {
		t.Fatalf("POST: %+v", a)
	}
	p.signal(t, syscall.SIGKILL)
	<-p.ended
	_, url = startLB(t, built, config, "--demo")
	if passed := passedOf50(t, url); passed != 5 {
		t.Errorf("%d of 50 requests passed, want the 5 of the stored limit", passed)
	}
}

func testSecondInstance(t *testing.T, built programs) {
	config := testConfig(t, freeAddresses(t, 1))
	startLB(t, built, config)
	p := startProcess(t, built.lb, "--path="+writeConfig(t, config))
	p.requireExit(t, 1, "clients.db", "loadbalancer (pid ", "holds the file")
}

// testSuccessor starts a second process on the same ports and store while the first serves, as a
// supervisor does at a restart, and then tells the first to end. The second serves within a second,
// while a request of the first is still under way.
func testSuccessor(t *testing.T, built programs) {
	backend, arrived, release := slowBackend(t)
	addresses := freeAddresses(t, 2)
	path := writeConfig(t, testConfig(t, []string{backend}, "server:\n  listen: "+addresses[0]+"\nmanagement:\n  listen: "+addresses[1]+"\n"))
	url := "http://" + addresses[0]
	first := startProcess(t, built.lb, "--path="+path)
	waitFor(t, "the first to serve", func() bool { return first.stdout.find("proxy") != nil })
	answered := getSlow(url, arrived)
	second := startProcess(t, built.lb, "--path="+path)
	waitFor(t, "the second to wait", func() bool { return second.stdout.find("waiting for a port that another process holds") != nil })
	begun := time.Now()
	first.signal(t, syscall.SIGTERM)
	waitFor(t, "the second to serve", func() bool {
		a, err := tryCall("GET", url, "")
		return err == nil && a.status == 200 && second.stdout.find("proxy") != nil
	})
	if took := time.Since(begun); took > time.Second {
		t.Errorf("for %s no process served", took)
	}
	select {
	case <-first.ended:
		t.Error("the first ended before its request")
	default:
	}
	release()
	if a := <-answered; a.status != 200 {
		t.Errorf("the request of the first got %+v", a)
	}
	first.requireExit(t, 0)
	second.signal(t, syscall.SIGTERM)
	second.requireExit(t, 0)
}
