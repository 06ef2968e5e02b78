package balancer

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// WaitFor polls until is returns true. It fails the test where that takes longer than limit.
func WaitFor(t testing.TB, limit time.Duration, what string, is func() bool) (took time.Duration) {
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

// FreePort returns a loopback port that nothing listens on. It is not among those that the system
// gives out by itself, and it is given out once.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, ports = 23_000, 9_000
	freePorts.Lock()
	defer freePorts.Unlock()
	for range 1000 {
		port := first + rand.IntN(ports)
		if freePorts.given[port] {
			continue
		}
		ln, err := net.Listen("tcp", Loopback(port))
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

// Loopback returns the address of a port.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
