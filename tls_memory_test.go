package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// testSecureMemory has the built binary hold a thousand connections of TLS that are idle after one
// request, and divides the memory that its heap and stacks have in use by them.
func testSecureMemory(t *testing.T, built programs) {
	const connections, most = 1000, 24 << 10
	e, backend := newEdge(t), freeAddresses(t, 1)[0]
	serveBackend(t, backend)
	const token = "a-token-of-24-characters"
	p, url := startLB(t, built, testConfig(t, []string{backend}, "server:\n  listen: 127.0.0.1:0\n  tls: {certificates: ["+e.write("a", "localhost")+"]}\n"+
		"management:\n  listen: 127.0.0.1:0\n  token: "+token+"\n", "limiter: {enabled: false}"))
	api := "http://" + p.stdout.find("management")["listen"].(string)
	// A profile of the heap begins with a collection. Two empty the pools.
	inUse := func() (total float64) {
		t.Helper()
		for range 2 {
			if a := call(t, "GET", api+"/debug/pprof/heap?gc=1", "", "Authorization: Bearer "+token); a.status != 200 {
				t.Fatalf("the profile: %+v", a)
			}
		}
		for line := range strings.Lines(call(t, "GET", api+"/metrics", "", "Authorization: Bearer "+token).body) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if name == "go_memstats_heap_inuse_bytes" || name == "go_memstats_stack_inuse_bytes" {
				n, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
		}
		return total
	}
	before := inUse()
	var conns sync.WaitGroup
	for range 4 {
		conns.Go(func() {
			for range connections / 4 {
				conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "http://"), e.transport().TLSClientConfig)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { conn.Close() })
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
				r, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
			}
		})
	}
	conns.Wait()
	time.Sleep(2 * time.Second) // longer than a connection keeps its buffers
	each := (inUse() - before) / connections
	t.Logf("%.0f bytes for each idle connection", each)
	if each > most {
		t.Errorf("that is more than %d", most)
	}
}
