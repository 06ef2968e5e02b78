package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// terminal is a terminal of 80 × 24 with a shell in it, by tmux.
type terminal struct{ tmux, socket string }

func startTerminal(t *testing.T) *terminal {
	t.Helper()
	c := &terminal{tool(t, "tmux"), filepath.Join(t.TempDir(), "tmux")}
	start := exec.Command(c.tmux, "-u", "-f", os.DevNull, "-S", c.socket, "new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' sh")
	start.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "NO_COLOR=", "ENV=")
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen:\n%s", c.tell(t, "capture-pane", "-p"))
		}
		c.tell(t, "kill-server")
	})
	return c
}

// tell runs a command of tmux.
func (c *terminal) tell(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(c.tmux, append([]string{"-u", "-S", c.socket}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// press presses keys, by tmux's names.
func (c *terminal) press(t *testing.T, keys ...string) {
	t.Helper()
	c.tell(t, append([]string{"send-keys"}, keys...)...)
}

// run types a command. The line "ended CODE MODE" follows its end; MODE is icanon if the terminal
// takes lines, as it did before.
func (c *terminal) run(t *testing.T, command string) {
	t.Helper()
	c.press(t, "clear; "+command+`; echo ended $? $(stty -a | grep -oE -- '-?icanon')`, "Enter")
}

// await waits for a text on the screen.
func (c *terminal) await(t *testing.T, text string) string {
	t.Helper()
	screen := ""
	waitFor(t, strconv.Quote(text)+" on the screen", func() bool {
		screen = c.tell(t, "capture-pane", "-p")
		return strings.Contains(screen, text) || t.Failed()
	})
	return screen
}

// requireRestored waits for the end of the command and checks that the terminal is as it was: it
// takes lines, the cursor is visible, and what was on the screen is there again.
func (c *terminal) requireRestored(t *testing.T, code int) {
	t.Helper()
	c.await(t, "ended "+strconv.Itoa(code)+" icanon\n")
	if modes := c.tell(t, "display-message", "-p", "#{cursor_flag} #{alternate_on} #{mouse_any_flag}"); modes != "1 0 0\n" {
		t.Errorf("cursor, alternate screen and mouse are %q", modes)
	}
}

// topScreen is the screen with a backend that is down, before any request. PORT0 stands for ports,
// and N for what differs from run to run.
const topScreen = `lb (devel) · up N s                             http://127.0.0.1:PORT0  HH:MM:SS
Ready
Requests       0/s
Statuses  2xx 0/s        3xx 0/s        4xx 0/s        5xx 0/s
Rejected       0/s                       In flight 0 · connections 0 · tunnels 0
Errors    none
Latency   no request has ended
Backends: 1 of 2 up                                                    by config
  BACKEND           REQ/S  ERR/S IN FLIGHT SHARE   DUE  STATE
> 127.0.0.1:PORT0       0      0         0     –  100%  up
  127.0.0.1:PORT0       0      0         0     –    0%  down N s
    health check of http://127.0.0.1:PORT0: connection refused







127.0.0.1:PORT0 · 0 requests · 0 errors
Limited in the last minute                                         by rejections
  none

q quit  ? help  / filter  s sort  S reverse  Tab list  d drain  r resume
`

// testTop shows a balancer in a terminal, of which one backend is down, and goes on with keys.
func testTop(t *testing.T, built programs) {
	c := startTerminal(t)
	addresses := freeAddresses(t, 3)
	startFakeBackend(t, built, addresses[0])
	tokens := "  tokens: [{name: w, role: write, token: write-write-write-write}, {name: r, role: read, token: read-read-read-read}]\n"
	config := testConfig(t, addresses[:2], "management:\n  listen: "+addresses[2]+"\n"+tokens)
	p, _ := startLB(t, built, config)
	command := built.lb + " top --management=" + managementOf(p)

	c.run(t, command)
	c.await(t, "wants a token: set LB_TOKEN")
	c.requireRestored(t, 1)
	c.run(t, "LB_TOKEN=wrong-wrong-wrong "+command)
	c.await(t, "LB_TOKEN is none of the tokens configured at ")
	c.requireRestored(t, 1)
	c.run(t, "LB_TOKEN=write-write-write-write TERM=dumb "+command)
	c.await(t, "the terminal is dumb (TERM=dumb)")
	c.requireRestored(t, 1)

	c.run(t, "LB_TOKEN=write-write-write-write "+command)
	c.await(t, " down ")
	if got := c.normal(t); got != topScreen {
		t.Errorf("the screen is\n%s", got)
	}
	c.press(t, "d")
	c.await(t, "Drain "+addresses[0]+"? y/n  Without it, requests of pool main get 503.")
	c.press(t, "n")
	c.await(t, "Nothing was done")
	c.press(t, "d")
	c.await(t, "y/n")
	c.press(t, "y")
	c.await(t, addresses[0]+" is drained: 0 requests under way there; ")
	c.await(t, "drained by an operator")
	c.press(t, "r")
	c.await(t, addresses[0]+" is resumed: its state is up")

	p.signal(t, syscall.SIGSTOP) // the connection remains
	c.await(t, "Old: nothing since ")
	p.signal(t, syscall.SIGCONT)
	c.await(t, "\nReady\n")
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	c.await(t, "): nothing listens at http://"+addresses[2]+";")
	p, _ = startLB(t, built, config)
	c.await(t, "\nReady\n")

	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	startLB(t, built, strings.Replace(config, "write-write-write-write", "other-other-other-other", 1))
	c.await(t, "LB_TOKEN is none of the tokens configured at\nhttp://"+addresses[2]+"; trying again every 30 s\n")
	c.press(t, "q")
	c.requireRestored(t, 0)
}

// normal returns the screen once it has the line of the last key, with what differs from run to run
// replaced.
func (c *terminal) normal(t *testing.T) string {
	t.Helper()
	screen := c.await(t, "\nq quit")
	for _, r := range []struct{ pattern, by string }{
		{`^lb .* · up \d+ (s|min) +http`, "lb (devel) · up N s                             http"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT0"},
		{`\d\d:\d\d:\d\d`, "HH:MM:SS"},
		{`down \d+ s`, "down N s"},
		{`0/s +▁+`, "0/s"},
	} {
		screen = regexp.MustCompile(r.pattern).ReplaceAllString(screen, r.by)
	}
	return screen
}

// testTopEnds ends lb top in several ways, with a token that may only read, and without colours.
func testTopEnds(t *testing.T, built programs) {
	c := startTerminal(t)
	addresses := freeAddresses(t, 1)
	startFakeBackend(t, built, addresses[0])
	p, _ := startLB(t, built, testConfig(t, addresses, "management:\n  listen: 127.0.0.1:0\n  tokens: [{name: r, role: read, token: read-read-read-read}]\n"))
	pidFile := filepath.Join(t.TempDir(), "pid")
	command := "LB_TOKEN=read-read-read-read NO_COLOR=1 sh -c 'echo $$ >" + pidFile + "; exec " + built.lb + " top --management=" + managementOf(p) + "'"
	pid := func() int {
		t.Helper()
		n, err := strconv.Atoi(strings.TrimSpace(readFile(t, pidFile)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	c.run(t, command)
	c.await(t, "1 of 1 up")
	if coloured := regexp.MustCompile(`\x1b\[[0-9;]*[34][0-7][m;]`).FindString(c.tell(t, "capture-pane", "-p", "-e")); coloured != "" {
		t.Errorf("NO_COLOR, and yet %q", coloured)
	}
	c.press(t, "d", "y")
	c.await(t, "Cannot drain "+addresses[0]+": the token has the role read")
	c.press(t, "C-c")
	c.requireRestored(t, 0)

	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		c.run(t, command)
		c.await(t, "1 of 1 up")
		if err := syscall.Kill(pid(), s); err != nil {
			t.Fatal(err)
		}
		c.requireRestored(t, 0)
	}

	c.run(t, "exec env "+command) // without a shell, a terminal that closes has nothing else to end it
	c.await(t, "1 of 1 up")
	child := pid()
	c.tell(t, "new-window", "sh") // keeps the server
	c.tell(t, "kill-window", "-t", "0")
	waitFor(t, "its end", func() bool { return syscall.Kill(child, 0) != nil })
}
