// Package balancer runs a balancer as a process, for tests: it builds the binary, starts it in a
// folder, reads its log and its metrics, and ends, kills or freezes it. Other servers of a test run
// in the same way.
package balancer

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Main runs the tests of a package, with a folder that is gone at the end and the path of a balancer,
// and exits with their code. It is for TestMain.
func Main(run func(dir, binary string) (code int)) {
	dir, err := os.MkdirTemp("", "balancer-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // servers of other users read in it
	}
	var path string
	if err == nil {
		path, err = binary(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = run(dir, path)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// Parallel has at least so many of the parallel tests run at once. It is for those that mostly wait.
func Parallel(least int) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(least, runtime.GOMAXPROCS(0)))); err != nil {
		panic("BUG: " + err.Error())
	}
}

// binary returns the path of the balancer: that of LB_BINARY, or one that it builds in dir.
func binary(dir string) (path string, err error) {
	if path = os.Getenv("LB_BINARY"); path != "" {
		return path, nil
	}
	path = filepath.Join(dir, "loadbalancer")
	if out, err := exec.Command("go", "build", "-o", path, "loadbalancer").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// Command returns one that runs a balancer in dir, with config in its config file.
func Command(t *testing.T, binary, dir, config string) *exec.Cmd {
	t.Helper()
	Configure(t, dir, config)
	command := exec.Command(binary, "--path="+filepath.Join(dir, "lb.yaml"))
	command.Dir = dir
	return command
}

// Configure writes the config file of the balancer in dir.
func Configure(t *testing.T, dir, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "lb.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Page returns the body of a page, or "" if there is no answer.
func Page(url string) string {
	res, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// Metric returns the value of a metric, whose name includes its labels, on a page of metrics, or ""
// if it is not there.
func Metric(page, name string) string {
	for line := range strings.Lines(page) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
