package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// asBench is the variable that makes the test's program bench itself, for tests of the process.
const asBench = "BENCH_TEST_AS_BENCH"

func TestMain(m *testing.M) {
	if os.Getenv(asBench) != "" {
		main()
	}
	goleak.VerifyTestMain(m,
		// fasthttp's clock of the Date header lives as long as the process,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// and its pool of workers notices in its sleep, within 10 s, that it was stopped.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

func TestLoadReports(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), []string{"--url=" + server.URL, "-requests", "200", "--connections=8"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if served.Load() != 200 || !strings.Contains(stdout.String(), "200 responses in ") || stderr.Len() > 0 {
		t.Errorf("served %d, stdout:\n%s\nstderr:\n%s", served.Load(), &stdout, &stderr)
	}
}

func TestLoadJSONAndChart(t *testing.T) {
	methods := make(chan string, 20)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { methods <- r.Method }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "load.png")
	var stdout bytes.Buffer
	args := []string{"--url=" + server.URL, "--requests=20", "--connections=2", "--body_size=1KiB", "--json", "--chart=" + file}
	if err := run(t.Context(), args, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	var report struct{ Responses int }
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil || report.Responses != 20 {
		t.Errorf("stdout is not the JSON report alone: %v\n%s", err, &stdout)
	}
	if method := <-methods; method != "POST" {
		t.Errorf("a request with a body is a %s, want POST", method)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Errorf("the chart is no PNG: %v", err)
	}
}

func TestLoadEndsEarlyAndReports(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 100 {
			cancel()
		}
	}))
	defer server.Close()
	var stdout bytes.Buffer
	if err := run(ctx, []string{"--url=" + server.URL, "--duration=1h"}, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "200 OK") {
		t.Errorf("no report:\n%s", &stdout)
	}
}

func TestRunRefusesFlags(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no", "such", "dir.png")
	folder := filepath.Join(t.TempDir(), "folder.html")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		want []string // parts of the message
	}{
		{"", []string{"--url is missing", "http://localhost:8080/"}},
		{"--url=https://localhost", []string{"--url=", "https is not supported"}},
		{"--url=http://h --connections=0", []string{"--connections=0", "1 to 100000"}},
		{"--url=http://h --connections=many", []string{"many", "connections"}},
		{"--url=http://h --requests=0", []string{"--requests=0", "above 0"}},
		{"--url=http://h --duration=0s", []string{"--duration=0s", "above 0"}},
		{"--url=http://h --rate=0", []string{"--rate=0", "above 0"}},
		{"--url=http://h --duration=5", []string{"duration", "5"}},
		{"--url=http://h --body_size=5parsecs", []string{"body_size", "5parsecs", "64KiB"}},
		{"--url=http://h --header=x", []string{"--header=", "Name: value"}},
		{"--url=http://h --chart=x.jpg", []string{"--chart=x.jpg", ".png"}},
		{"--url=http://h --chart=" + missing, []string{"--chart=" + missing, "written"}},
		{"--url=http://h --chart=", []string{"--chart=:", ".png"}},
		{"--url=http://h --report=x.htm", []string{"--report=x.htm", ".html"}},
		{"--url=http://h --report=" + missing + ".html", []string{"--report=" + missing, "written"}},
		{"--url=http://h --report=" + folder, []string{"--report=" + folder, "no regular file", "written"}},
		{"--url=http://h --speed=9", []string{"speed", "--help"}},
		{"http://h", []string{`"http://h"`, "must be a flag"}},
		{"servers --servers=0", []string{"--servers=0", "1 to 1000"}},
		{"servers --start_port=65530", []string{"--start_port=65530", "1 to 65526"}},
		{"servers --error_rate=2", []string{"--error_rate=2", "0 to 1"}},
		{"servers --delay=-1s", []string{"--delay=-1s", "20ms"}},
		{"servers now", []string{`"now"`, "must be a flag"}},
	}
	for _, tt := range tests {
		var stdout bytes.Buffer
		err := run(t.Context(), strings.Fields(tt.args), &stdout, io.Discard)
		if code := exitCode(err); code != 2 || stdout.Len() > 0 {
			t.Errorf("bench %s: exit code %d, error %v, stdout %q; want 2, a message, nothing", tt.args, code, err, &stdout)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("bench %s: message %q does not say %q", tt.args, err, part)
			}
		}
	}
}

func TestHelpKnowsEveryFlag(t *testing.T) {
	for command, flags := range map[string]*flag.FlagSet{"": new(loadFlags).flagSet(), "servers ": new(serversFlags).flagSet()} {
		var stderr bytes.Buffer
		err := run(t.Context(), strings.Fields(command+"--help"), io.Discard, &stderr)
		if !errors.Is(err, flag.ErrHelp) || exitCode(err) != 0 || !strings.HasPrefix(stderr.String(), "Usage: bench") {
			t.Errorf("bench %s--help: error %v, exit code %d, says\n%s", command, err, exitCode(err), &stderr)
		}
		flags.VisitAll(func(f *flag.Flag) {
			if !strings.Contains(stderr.String(), "\n  --"+f.Name) {
				t.Errorf("bench %s--help does not know --%s", command, f.Name)
			}
		})
	}
}

func TestLoadAgainstNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	err = run(t.Context(), []string{"--url=http://" + address}, io.Discard, io.Discard)
	if exitCode(err) != 1 || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("exit code %d, error %v; want 1 and the address", exitCode(err), err)
	}
}

func TestLoadWithoutAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	var stdout bytes.Buffer
	err := run(t.Context(), []string{"--url=" + server.URL, "--requests=5", "--connections=1"}, &stdout, io.Discard)
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "none of 5 requests") || !strings.Contains(stdout.String(), "error") {
		t.Errorf("exit code %d, error %v, want 1, and a report:\n%s", exitCode(err), err, &stdout)
	}
}

func TestServers(t *testing.T) {
	const count = 3
	first := freePorts(t, count)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		args := []string{"servers", "--servers=3", fmt.Sprintf("--start_port=%d", first), "--body_size=64"}
		err := run(ctx, args, in, io.Discard)
		in.CloseWithError(io.EOF)
		done <- err
	}()
	line := make([]byte, 200)
	n, err := out.Read(line) // the servers listen once they say so
	if err != nil {
		t.Fatalf("servers ended: %v", <-done)
	}
	if want := fmt.Sprintf("serving 3 backends on 127.0.0.1:%d to 127.0.0.1:%d", first, first+2); !strings.HasPrefix(string(line[:n]), want) {
		t.Errorf("says %q, want %q", line[:n], want)
	}
	for port := first; port < first+count; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		resp, err := http.Get("http://" + address)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if len(body) != 64 || !strings.HasPrefix(string(body), "backend "+address+"\n") || resp.Header.Get("X-Backend") != address {
			t.Errorf("backend %s answers %q, X-Backend %q", address, body, resp.Header.Get("X-Backend"))
		}
	}
	// The ports are taken now.
	err = run(t.Context(), []string{"servers", "--servers=3", fmt.Sprintf("--start_port=%d", first-1)}, io.Discard, io.Discard)
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "127.0.0.1:"+strconv.Itoa(first)) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("ports in use: exit code %d, error %v; want 1 and the address", exitCode(err), err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("servers ended with %v, want nil", err)
	}
}

// freePorts returns the first of so many free ports in a row, with a free one before them.
func freePorts(t *testing.T, count int) int {
	t.Helper()
	for range 50 {
		probe, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := probe.Addr().(*net.TCPAddr).Port
		probe.Close()
		if listeners, err := listenAll(t.Context(), "127.0.0.1", first-1, count+1); err == nil {
			for _, ln := range listeners {
				ln.Close()
			}
			return first
		}
	}
	t.Fatalf("no %d free ports in a row", count)
	return 0
}

func TestSize(t *testing.T) {
	for text, want := range map[string]size{"0": 0, "128": 128, "128B": 128, "64KiB": 65536, "64kib": 65536, "1 GiB": 1 << 30, "2TiB": 2 << 40, "5MB": 5_000_000} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q: got %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1XB", "1KiBKiB", "9999999999TiB", "99999999999999999999"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, s)
		}
	}
}
