package faults

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "run the long forms")

// deadline bounds what a test waits for where the issue is not how long it takes.
const deadline = 20 * time.Second

// binary is the path of the balancer: that of LB_BINARY, or one that is built here.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	// The parallel tests mostly wait for what is away.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic("BUG: " + err.Error())
	}
	dir, err := os.MkdirTemp("", "faults-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // the servers' user reads the template in it
	}
	template.dir = dir
	if binary = os.Getenv("LB_BINARY"); err == nil && binary == "" {
		binary = filepath.Join(dir, "loadbalancer")
		if out, failed := exec.Command("go", "build", "-o", binary, "loadbalancer").CombinedOutput(); failed != nil {
			err = fmt.Errorf("go build: %w\n%s", failed, out)
		}
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// waitFor polls until is returns true, for at most deadline.
func waitFor(t *testing.T, what string, is func() bool) (took time.Duration) {
	t.Helper()
	return waitWithin(t, deadline, what, is)
}

// waitWithin polls until is returns true. It fails the test where that takes longer than limit.
func waitWithin(t *testing.T, limit time.Duration, what string, is func() bool) (took time.Duration) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if is() {
			return time.Since(begun)
		}
		if took = time.Since(begun); took > limit {
			t.Fatalf("waited for %s in vain, for %s", what, took)
		}
	}
}

// freePort returns a loopback port that nothing listens on. It is not among those that the system
// gives out by itself, nor among those of the other tests of this module.
func freePort(t *testing.T) int {
	t.Helper()
	const first, ports = 23_000, 9_000
	freePorts.Lock()
	defer freePorts.Unlock()
	for range 1000 {
		port := first + rand.IntN(ports)
		if freePorts.given[port] {
			continue
		}
		ln, err := net.Listen("tcp", addressOf(port))
		if err != nil {
			continue
		}
		ln.Close()
		freePorts.given[port] = true
		return port
	}
	t.Fatal("there is no free port")
	return 0
}

var freePorts = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

func addressOf(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// journal takes what a process writes.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// with returns the lines that contain each of the words, in whatever case. The path of the config
// file does not count: the test's name is in it.
func (j *journal) with(words ...string) (lines []string) {
	for line := range strings.Lines(j.String()) {
		text := strings.ToLower(configPath.ReplaceAllString(line, ""))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, strings.ToLower(word)) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// require waits until a line contains the words: a log is written behind what it tells of.
func (j *journal) require(t *testing.T, what string, words ...string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(j.with(words...)) == 0; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the log does not tell of %s, with the words %q:\n%s", what, words, shortened(j.String()))
			return
		}
	}
}

var configPath = regexp.MustCompile(`/[^" ]*/lb\.yaml`)

// process is a command that runs.
type process struct {
	*exec.Cmd
	log   *journal // stdout and stderr
	ended chan struct{}
}

// startProcess starts a command. It is killed at the end of the test at the latest.
func startProcess(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: command, log: &journal{}, ended: make(chan struct{})}
	p.Stdout, p.Stderr = p.log, p.log
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

// hasEnded reports whether the process has ended.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}
