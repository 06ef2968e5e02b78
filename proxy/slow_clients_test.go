package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowness is how many clients of TestSlowClients are slow, and how it measures.
type slowness struct {
	headers, small, large int           // clients that are slow in a header, and in a body of either kind
	rounds                int           // each measures without them, then with them
	measure               time.Duration // how long, each time
}

// all is the number of the slow clients.
func (s slowness) all() int { return s.headers + s.small + s.large }

// openings are what a slow client of each kind begins with. What it goes on with fits into each:
// one byte every slowPause.
var openings = [...]string{
	"GET / HTTP/1.1\r\nHost: h\r\nX: ",
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n",
}

const slowPause = 10 * time.Second

// slowAt names the variable that makes this process the slow clients, and holds where they connect
// to and how many there are of each kind.
const slowAt = "LB_TEST_SLOW_CLIENTS"

// TestSlowClients has thousands of clients send a byte now and then. Other clients must not notice.
// With -long it compares the 99th percentiles; -v prints them.
func TestSlowClients(t *testing.T) {
	if at := os.Getenv(slowAt); at != "" {
		beSlow(t, at)
		return
	}
	s := slowness{headers: 500, small: 250, large: 250, rounds: 1, measure: 300 * time.Millisecond}
	if *long {
		s = slowness{headers: 5000, small: 2500, large: 2500, rounds: 7, measure: 3 * time.Second}
	}
	needFiles(t, s.all()+2*s.large+100) // both ends of a connection to a backend are ours
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			header, err := readRequestHeader(in)
			if err != nil || strings.HasPrefix(header, "POST") {
				_, _ = io.Copy(io.Discard, in)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}))
	o.Server.ReadHeaderTimeout, o.Server.BodyTimeout = time.Hour, time.Hour // else they are cut in time
	p, address := startProxy(t, o)
	var before, during []time.Duration
	for round := range s.rounds {
		eventually(t, "the slow clients to be gone", func() bool { return metric(p, "lb_connections") == "0" })
		memory := memoryInUse()
		before = append(before, percentile99(quickRequests(t, address, s.measure)))
		func() {
			defer startSlow(t, s, address)()
			eventually(t, "the slow clients to be there", func() bool {
				return metric(p, "lb_connections") == strconv.Itoa(s.all()) && requestsUnderWay(p) == s.small+s.large
			})
			if round == 0 { // later ones find what it has left in the pools
				t.Logf("%d KiB of memory for each slow connection", (memoryInUse()-memory)/int64(s.all())>>10)
			}
			during = append(during, percentile99(quickRequests(t, address, s.measure)))
			if n, err := strconv.Atoi(metric(p, "lb_connections")); err != nil || n < s.all() {
				t.Errorf("only %d of %d slow clients are still there", n, s.all())
			}
		}()
	}
	t.Logf("p99 before: %s", before)
	t.Logf("p99 during: %s", during)
	slices.Sort(before)
	slices.Sort(during)
	quick, slow := before[len(before)/2], during[len(during)/2]
	t.Logf("medians: %s and %s, ratio %.2f", quick, slow, float64(slow)/float64(quick))
	if most := quick * 12 / 10; *long && slow > most {
		t.Errorf("p99 is %s beside slow clients, want at most %s", slow, most)
	}
	if slow > quick+250*time.Millisecond {
		t.Errorf("p99 is %s beside slow clients, and %s without", slow, quick)
	}
}

// needFiles skips the test where the process may not open as many files. The runtime has raised the
// soft limit to the hard one.
func needFiles(t *testing.T, n int) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < uint64(n) {
		t.Skipf("ulimit -n is %d, and %d files are needed", limit.Cur, n)
	}
}

// memoryInUse returns the bytes of the heap and the stacks.
func memoryInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// quickRequests has a few clients send requests at a steady pace, all of which must be answered,
// and returns how long each answer took.
func quickRequests(t *testing.T, address string, d time.Duration) (took []time.Duration) {
	const clients, pause = 4, 2 * time.Millisecond
	var mu sync.Mutex
	var all sync.WaitGroup
	for range clients {
		w := newWire(t, address)
		defer w.Close()
		_ = w.SetDeadline(time.Now().Add(time.Minute))
		all.Go(func() {
			request, answer := []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), make([]byte, 4096)
			mine := make([]time.Duration, 0, d/pause+1)
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
				start := time.Now()
				_, err := w.Write(request)
				n, err2 := w.Conn.Read(answer)
				if got := string(answer[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.HasSuffix(got, "ok") {
					t.Errorf("got %q, %v, %v", got, err, err2)
					return
				}
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	all.Wait()
	return took
}

func percentile99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100].Round(time.Microsecond)
}

// startSlow runs the slow clients in a process of their own: one may not hold as many files as both
// ends of their connections take. stop ends it.
func startSlow(t *testing.T, s slowness, address string) (stop func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestSlowClients$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d", slowAt, address, s.headers, s.small, s.large))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the slow clients: %v", err)
		}
	}
}

// beSlow is the process of the slow clients. It ends with its input.
func beSlow(t *testing.T, at string) {
	fields := strings.Fields(at)
	var conns []net.Conn
	for kind, count := range fields[1:] {
		n, err := strconv.Atoi(count)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			conn, err := net.Dial("tcp", fields[0])
			if err != nil {
				t.Fatal(err)
			}
			defer reset(conn) // leaves no port behind that waits for its time to be over
			if _, err := io.WriteString(conn, openings[kind]); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
	}
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(ended)
	}()
	tick := time.NewTicker(time.Millisecond) // evenly, as clients that know nothing of each other
	defer tick.Stop()
	for start, sent := time.Now(), 0; ; {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		for due := int(time.Since(start) * time.Duration(len(conns)) / slowPause); sent < due; sent++ {
			if _, err := io.WriteString(conns[sent%len(conns)], "x"); err != nil {
				t.Errorf("a slow client was cut off: %v", err)
				return
			}
		}
	}
}
