package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func testExitCodes(t *testing.T, built programs) {
	valid := testConfig(t, freeAddresses(t, 1))
	bad := writeConfig(t, valid+"    balance: fastest\n")
	tests := []struct {
		name   string
		args   []string
		code   int
		stderr []string
	}{
		{"help", []string{"--help"}, 0, nil},
		{"check", []string{"--check", "--path=" + writeConfig(t, valid)}, 0, nil},
		{"bad config", []string{"--path=" + bad, "--demo"}, 2, []string{bad + ":", "pools.main.balance: fastest"}},
		{"bad config, checked", []string{"--check", "--path=" + bad}, 2, []string{bad + ":"}},
		{"missing file", []string{"--path=missing.yaml"}, 2, []string{"missing.yaml", "--path=FILE"}},
		{"missing default file", nil, 2, []string{"config.yaml", "--path=FILE"}},
		{"bad flag", []string{"--demon"}, 2, []string{"-demon", "lb --help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := startProcess(t, built.lb, tt.args...)
			p.requireExit(t, tt.code, tt.stderr...)
			if tt.code != 0 && p.stdout.String() != "" {
				t.Errorf("something was started: %s", p.stdout)
			}
		})
	}
	_, store, _ := strings.Cut(valid, "store: file:")
	store, _, _ = strings.Cut(store, "\n")
	if _, err := os.Stat(store); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the store was opened: %v", err)
	}
}

func testCommands(t *testing.T, built programs) {
	valid := writeConfig(t, smallest)
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"check", "--path=" + valid}, 0, valid + " is valid\n", ""},
		{[]string{"check", "--path=testdata/config/bad/unknown_policy.yaml"}, 2, "", "unknown_policy.yaml"},
		{[]string{"help"}, 0, "lb check [--path=FILE]", ""},
		{[]string{"healthcheck", "--help"}, 0, "--timeout=TIME", ""},
		{[]string{"chek"}, 2, "", `unknown command "chek": use check, explain, healthcheck, top, version or help`},
		{[]string{"version", "--long"}, 2, "", "-long; use --help"},
	} {
		p := startProcess(t, built.lb, tt.args...)
		if tt.stderr == "" {
			p.requireExit(t, tt.code)
		} else {
			p.requireExit(t, tt.code, tt.stderr)
		}
		if out := p.stdout.String(); !strings.Contains(out, tt.stdout) || tt.stdout == "" && out != "" {
			t.Errorf("%s: stdout is %q, want %q in it", tt.args, out, tt.stdout)
		}
	}
}

// testVersion builds as the Dockerfile does, which sets the version.
func testVersion(t *testing.T, built programs) {
	for _, arg := range []string{"version", "--version"} {
		p := startProcess(t, built.lb, arg)
		p.requireExit(t, 0)
		if out := p.stdout.String(); !strings.HasPrefix(out, "lb ") || !strings.HasSuffix(out, ", "+runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH+"\n") {
			t.Errorf("lb %s prints %q", arg, out)
		}
	}
	lb := filepath.Join(t.TempDir(), "lb")
	_, flags, _ := strings.Cut(readFile(t, "Dockerfile"), ` -ldflags "`)
	flags, _, _ = strings.Cut(flags, `"`)
	flags = strings.NewReplacer("$VERSION", "v1.2.3", "$COMMIT", "0123abc", "$DATE", "2026-11-01T00:00:00Z").Replace(flags)
	if out, err := exec.Command("go", "build", "-ldflags", flags, "-o", lb, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p := startProcess(t, lb, "version")
	p.requireExit(t, 0)
	if want := "lb v1.2.3, commit 0123abc, 2026-11-01T00:00:00Z, go"; !strings.HasPrefix(p.stdout.String(), want) {
		t.Errorf("got %q, want %q at its beginning", p.stdout, want)
	}
}

// requireHealthcheck runs lb healthcheck for a file. Without words on stderr it has to say ready.
func requireHealthcheck(t *testing.T, built programs, path string, code int, words ...string) {
	t.Helper()
	p := startProcess(t, built.lb, "healthcheck", "--path="+path, "--timeout=5s")
	p.requireExit(t, code, words...)
	if ready := p.stdout.String() == "ready\n"; ready != (code == 0) {
		t.Errorf("stdout is %q with the exit code %d", p.stdout, code)
	}
}

func testHealthcheck(t *testing.T, built programs) {
	_, port, err := net.SplitHostPort(freeAddresses(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{"127.0.0.1:" + port, ":" + port, "0.0.0.0:" + port, "unix:" + socketDir(t) + "/management"} {
		t.Run(listen, func(t *testing.T) {
			path := writeConfig(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: "+listen+"\n  token: 0123456789abcdef\n"))
			requireHealthcheck(t, built, path, 1, "lb: ask /readyz on management.listen ("+listen+"): dial ")
			p := startProcess(t, built.lb, "--path="+path, "--demo")
			waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
			requireHealthcheck(t, built, path, 0)
			p.signal(t, 15)
			p.requireExit(t, 0)
		})
	}
}

// A balancer that runs and is not ready says why, and one that does not answer is not waited for.
func testHealthcheckUnanswered(t *testing.T, built programs) {
	address := freeAddresses(t, 1)[0]
	path := writeConfig(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: "+address+"\n"))
	p := startProcess(t, built.lb, "--path="+path) // no backend listens
	waitFor(t, "the backend to be down", func() bool {
		a, err := tryCall("GET", "http://"+address+"/readyz", "")
		return err == nil && a.status == 503
	})
	requireHealthcheck(t, built, path, 1, "lb: /readyz on management.listen ("+address+") answered 503: not ready: ")
	p.signal(t, 15)
	p.requireExit(t, 0)

	silent, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p = startProcess(t, built.lb, "healthcheck", "--path="+path, "--timeout=100ms")
	p.requireExit(t, 1, "lb: /readyz on management.listen ("+address+") has not answered within 100ms")
}

// A fault elsewhere in the file does not make the process that runs an unhealthy one.
func testHealthcheckBadFile(t *testing.T, built programs) {
	address := freeAddresses(t, 1)[0]
	config := testConfig(t, freeAddresses(t, 1), "management:\n  listen: "+address+"\n")
	p := startProcess(t, built.lb, "--path="+writeConfig(t, config), "--demo")
	waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
	requireHealthcheck(t, built, writeConfig(t, config+"    balance: fastest\nlimits: {}\n"), 0)
	requireHealthcheck(t, built, writeConfig(t, "management: {listen: \"\"}\n"), 1, `management.listen is "", so there is no /readyz to ask`)
	requireHealthcheck(t, built, writeConfig(t, "management: {listen: 127.0.0.1:0}\n"), 1, "a port that each start chooses anew")
	requireHealthcheck(t, built, writeConfig(t, "management: {listen: 8081}\n"), 1, ":1: management.listen: 8081 is invalid")
	requireHealthcheck(t, built, writeConfig(t, "management: {listen: 8081\n"), 1, "lb.yaml:")
	requireHealthcheck(t, built, "missing.yaml", 1, "missing.yaml", "--path=FILE")
	p.signal(t, 15)
	p.requireExit(t, 0)
}

// The last line of the log says why the process has ended, in the log's format.
func testFatalErrorLogged(t *testing.T, built programs) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	listen := "server:\n  listen: " + taken.Addr().String() + "\n"
	p := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), listen)))
	p.requireExit(t, 1, "lb: server.listen: "+taken.Addr().String()+" is ")
	failure := strings.TrimSpace(strings.TrimPrefix(p.stderr.String(), "lb: "))
	if line := p.stdout.find(failure); line["level"] != "error" || line["config"] == nil {
		t.Errorf("the log lacks an error line %q:\n%s", failure, p.stdout)
	}
	console := startProcess(t, built.lb, "--path="+writeConfig(t, testConfig(t, freeAddresses(t, 1), listen, "log:\n  format: console\n")))
	console.requireExit(t, 1, failure)
	if out := console.stdout.String(); !strings.Contains(out, failure) || strings.Contains(out, "{") {
		t.Errorf("format: console writes %s", out)
	}
}
