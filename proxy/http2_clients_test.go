package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tool returns the path of a program, or skips the test. With REQUIRE_TOOLS it fails
// instead.
func tool(t *testing.T, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is needed: %s", name, from)
	}
	if err != nil {
		t.Skipf("%s is not there: %s", name, from)
	}
	return path
}

// run runs a program, and returns what it says.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), path, args...)
	c.Env = append(os.Environ(), "http_proxy=", "https_proxy=")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", path, args, err, out)
	}
	return string(out)
}

// TestHTTP2Curl has curl send and get bodies, in the clear.
func TestHTTP2Curl(t *testing.T) {
	curl := tool(t, "curl", "apt-get install curl")
	if !strings.Contains(run(t, curl, "-V"), "HTTP2") {
		t.Skip("this curl has no HTTP/2")
	}
	_, address := startProxy(t, http2Options(startBackend(t, mirror)))
	file := filepath.Join(t.TempDir(), "body")
	body := bytes.Repeat([]byte("0123456789abcde\n"), 100_000)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--data-binary", "@" + file}, {"-T", file}, {"-T", file, "-H", "Expect: 100-continue"}, {"--data-binary", "@" + file, "-H", "Expect:"}} {
		got := run(t, curl, append(args, "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "http://"+address+"/a?b")...)
		if got != string(body)+"2 200" {
			t.Errorf("curl %q: %d bytes, the end is %q", args, len(got), got[max(0, len(got)-100):])
		}
	}
	if got := run(t, curl, "-sS", "--http2-prior-knowledge", "-I", "http://"+address); !strings.HasPrefix(got, "HTTP/2 200") {
		t.Errorf("curl -I: %q", got)
	}
}

// nodeScript sends ten requests at once on one connection, with trailers both ways, and resets one.
const nodeScript = `
const http2 = require('http2'), assert = require('assert');
const session = http2.connect(process.argv[1]);
session.on('error', e => { throw e; });
let left = 11;
const done = () => { if (--left === 0) session.close(); };
for (let i = 0; i < 10; i++) {
  const body = 'x'.repeat(i * 30000);
  const stream = session.request({':method': 'POST', ':path': '/' + i, 'cookie': ['a=1', 'b=2']});
  let got = '';
  stream.on('response', h => { assert.equal(h[':status'], 200); assert.equal(h['x-target'], '/' + i); });
  stream.setEncoding('utf8').on('data', d => got += d).on('end', () => { assert.equal(got, body); done(); });
  stream.end(body);
}
const reset = session.request({':method': 'POST', ':path': '/reset'});
reset.on('error', () => {}).on('close', done);
reset.write('part');
setTimeout(() => reset.close(http2.constants.NGHTTP2_CANCEL), 50);
session.on('close', () => console.log('ok'));
`

// TestHTTP2Node has Node's client send requests at once.
func TestHTTP2Node(t *testing.T) {
	node := tool(t, "node", "apt-get install nodejs")
	_, address := startProxy(t, http2Options(startBackend(t, mirror)))
	if got := run(t, node, "-e", nodeScript, "http://"+address); strings.TrimSpace(got) != "ok" {
		t.Errorf("node: %s", got)
	}
}

// TestHTTP2Load has h2load send many requests on several connections.
func TestHTTP2Load(t *testing.T) {
	h2load := tool(t, "h2load", "apt-get install nghttp2-client")
	_, address := startProxy(t, http2Options(startRawBackend(t, answerAll(leaseOK))))
	got := run(t, h2load, "-n", "5000", "-c", "5", "-m", "50", "-t", "1", "http://"+address+"/")
	if !strings.Contains(got, "5000 succeeded, 0 failed") || !strings.Contains(got, "h2c") {
		t.Errorf("h2load: %s", got)
	}
}

// notMet are the cases of h2spec that fail, with the reason. 3.5/2: what is no preface is a request of
// HTTP/1, which is answered.
var notMet = []string{
	"3.5 2: Sends invalid connection preface",
}

// TestHTTP2Spec runs the conformance tests of h2spec.
func TestHTTP2Spec(t *testing.T) {
	h2spec := tool(t, "h2spec", "go install github.com/summerwind/h2spec/cmd/h2spec@latest")
	t.Parallel()
	_, address := startProxy(t, http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", 100)) // it opens windows of a few bytes
	})))
	host, port, _ := net.SplitHostPort(address)
	out, _ := exec.CommandContext(t.Context(), h2spec, "-h", host, "-p", port, "-o", "2", "generic", "hpack", "http2").CombinedOutput()
	if !regexp.MustCompile(`(?m)^14\d tests, `).Match(out) {
		t.Fatalf("h2spec: %s", out)
	}
	_, failures, _ := strings.Cut(string(out), "Failures:")
	section, failed := "", []string(nil)
	for line := range strings.Lines(failures) {
		line = strings.TrimSpace(line)
		if m := regexp.MustCompile(`^([\d.]+)\. `).FindStringSubmatch(line); m != nil {
			section = m[1]
		} else if name, ok := strings.CutPrefix(line, "× "); ok {
			failed = append(failed, section+" "+name)
		}
	}
	for _, name := range failed {
		if !slices.Contains(notMet, name) {
			t.Errorf("h2spec fails in %s:\n%s", name, failures)
		}
	}
	if len(failed) == 0 {
		t.Error("all of h2spec is met: strike what is said not to be")
	}
}
