package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/upstream"
)

// startFailing returns a backend that fails at once, in one of several ways, and how often.
func startFailing(t *testing.T, how string) (url string, failures *atomic.Int64) {
	t.Helper()
	failures = new(atomic.Int64)
	return startRawBackend(t, func(conn net.Conn) {
		for in := bufio.NewReader(conn); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			failures.Add(1)
			switch how {
			case "503":
				_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
			case "bad response":
				_, _ = io.WriteString(conn, "SMTP\r\n")
				return
			default: // reset
				_ = socketOf(conn).SetLinger(0)
				return
			}
		}
	}), failures
}

// A backend that fails at once draws less than its share, though it is always idle.
func TestFailingBackendDrawsLess(t *testing.T) {
	t.Parallel()
	for _, policy := range []balance.Policy{balance.LeastRequests, balance.RandomTwo, balance.Latency} {
		for _, how := range []string{"503", "bad response", "reset"} {
			t.Run(policy.String()+" "+how, func(t *testing.T) {
				slow := func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Millisecond) }
				failing, failures := startFailing(t, how)
				o := testOptions(failing, startBackend(t, slow), startBackend(t, slow))
				pool := o.Pools["main"]
				pool.Balance, pool.Retry = policy, upstream.RetryConfig{Attempts: 1}
				o.Pools["main"] = pool
				_, address := startProxy(t, o)
				const clients, requests = 8, 40
				var all sync.WaitGroup
				for range clients {
					all.Go(func() {
						for range requests {
							if response, err := http.Get("http://" + address); err != nil {
								t.Error(err)
							} else {
								_ = response.Body.Close()
							}
						}
					})
				}
				all.Wait()
				if got := failures.Load(); got > clients*requests/6 {
					t.Errorf("%d of %d requests went to the backend that fails", got, clients*requests)
				}
			})
		}
	}
}
