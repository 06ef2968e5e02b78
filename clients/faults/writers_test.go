package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

func testIfMatch(t *testing.T, in *instances) {
	const from = "127.0.5.1"
	path := "/clients/" + from
	first := in.all[0].must(t, 201, "POST", "/clients/", at(from, 10)).header.Get("ETag")
	if first == "" {
		t.Fatal("the response to POST has no ETag")
	}
	requireQuota(t, in.all, from, 10)
	if got := in.all[1].must(t, 200, "GET", path, "").header.Get("ETag"); got != first {
		t.Errorf("the ETag at another balancer is %s, want %s", got, first)
	}
	// The second balancer changes it; the first and the third have to refuse what was read before,
	// at once, whatever they have heard by then.
	second := in.all[1].must(t, 200, "PUT", path, terms(11), "If-Match: "+first).header.Get("ETag")
	if second == first || second == "" {
		t.Errorf("the ETag after a change is %s, before %s", second, first)
	}
	in.all[0].must(t, 412, "PUT", path, terms(12), "If-Match: "+first)
	in.all[2].must(t, 412, "DELETE", path, "", "If-Match: "+first)
	in.all[2].must(t, 200, "PUT", path, terms(13), "If-Match: "+second)
	in.psql(t, "UPDATE clients SET capacity = 14 WHERE ip_address = '"+from+"'")
	third := in.all[2].must(t, 412, "PUT", path, terms(15), "If-Match: "+second)
	if !strings.Contains(third.header.Get("Content-Type"), "problem+json") {
		t.Errorf("412 is %s", third)
	}
	requireQuota(t, in.all, from, 14)
	now := in.all[0].must(t, 200, "GET", path, "").header.Get("ETag")
	in.all[1].must(t, 204, "DELETE", path, "", "If-Match: "+now)
	// Without it the response would be 404, so the precondition does not count (RFC 9110, 13.2.1).
	in.all[2].must(t, 404, "PUT", path, terms(16), "If-Match: *")
	in.requireGone(t, from)
}

// testIncrements has workers at three balancers add to one capacity, each by a read and a
// conditional write. None of the additions may be lost.
func testIncrements(t *testing.T, in *instances) {
	const from, workers, each = "127.0.5.2", 6, 5
	path := "/clients/" + from
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 100))
	requireQuota(t, in.all, from, 100)
	var wg sync.WaitGroup
	var refused atomic.Int64
	for w := range workers {
		wg.Go(func() {
			b := in.all[w%len(in.all)]
			for added, end := 0, time.Now().Add(deadline); added < each; {
				read, err := b.try("GET", path, "")
				var c struct{ Capacity int64 }
				if err != nil || json.Unmarshal([]byte(read.body), &c) != nil || time.Now().After(end) {
					t.Errorf("worker %d has added %d: %s, %v", w, added, read, err)
					return
				}
				switch written, err := b.try("PUT", path, terms(c.Capacity+1), "If-Match: "+read.header.Get("ETag")); {
				case err == nil && written.status == 200:
					added++
				case err == nil && written.status == 412:
					refused.Add(1)
				default:
					t.Errorf("worker %d: %s, %v", w, written, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := in.capacity(t, from); got != strconv.Itoa(100+workers*each) {
		t.Errorf("the capacity is %s, want %d", got, 100+workers*each)
	}
	if refused.Load() == 0 {
		t.Error("no write was refused: the workers did not meet")
	}
	requireQuota(t, in.all, from, 100+workers*each)
}

// testOneKey registers clients with the same key at all balancers at once. One gets it.
func testOneKey(t *testing.T, in *instances) {
	for round := range 10 {
		key := fmt.Sprintf("a key for one of several %d", round)
		var wg sync.WaitGroup
		statuses := make([]int, len(in.all))
		for i, b := range in.all {
			wg.Go(func() {
				body := fmt.Sprintf(`{"name":"r%d-%d","api_key":%q,"capacity":%d,"rate_per_second":1}`, round, i, key, 300+i)
				a, err := b.try("POST", "/clients/", body)
				if statuses[i] = a.status; err != nil || a.status != 201 && a.status != 409 {
					t.Errorf("POST at balancer %d: %s, %v", i, a, err)
				}
			})
		}
		wg.Wait()
		winner := slices.Index(statuses, 201)
		if winner < 0 || slices.Contains(statuses[winner+1:], 201) {
			t.Fatalf("the responses have %v, want 201 once", statuses)
		}
		requireQuota(t, in.all, "127.0.5.4", int64(300+winner), keyHeader+": "+key)
	}
}

// testThousandWriters has 1,000 writers on one client. Each gets an answer in time, and the last
// state is one that was written.
func testThousandWriters(t *testing.T, in *instances) {
	const from, writers = "127.0.5.3", 1000
	in.all[0].must(t, 201, "POST", "/clients/", at(from, 1))
	var wg sync.WaitGroup
	var written, refused atomic.Int64
	var slowest atomic.Int64
	begun := time.Now()
	for w := range writers {
		wg.Go(func() {
			a, err := in.all[w%len(in.all)].try("PUT", "/clients/"+from, terms(int64(1000+w)))
			switch {
			case err == nil && a.status == 200:
				written.Add(1)
			case err == nil && a.status == 503 && a.header.Get("Retry-After") != "":
				refused.Add(1)
			default:
				t.Errorf("writer %d: %s, %v", w, a, err)
			}
			for old := slowest.Load(); old < int64(a.took) && !slowest.CompareAndSwap(old, int64(a.took)); old = slowest.Load() {
			}
		})
	}
	wg.Wait()
	t.Logf("1,000 writers: %d have written, %d got 503; all answered after %s, the slowest took %s",
		written.Load(), refused.Load(), time.Since(begun).Round(time.Millisecond), time.Duration(slowest.Load()).Round(time.Millisecond))
	if written.Load() < writers/2 {
		t.Errorf("only %d of %d writes succeeded", written.Load(), writers)
	}
	if took := time.Duration(slowest.Load()); took > 8*time.Second {
		t.Errorf("a write took %s", took)
	}
	stored, err := strconv.ParseInt(in.capacity(t, from), 10, 64)
	if err != nil || stored < 1000 || stored >= 1000+writers {
		t.Fatalf("the stored capacity is %d, %v", stored, err)
	}
	requireQuota(t, in.all, from, stored)
}

// write is an operation on the one client of a history; outcome is its response.
type write struct{ method, ifMatch string }

type outcome struct {
	status int
	etag   string
}

// present is the state that the writes of a history go by: the ETag of the client, "" where there
// is none.
type present string

// histories is the specification of the writes: each takes effect at one moment between its
// request and its response.
var histories = porcupine.Model{
	Init: func() any { return present("") },
	Step: func(state, input, output any) (bool, any) {
		now, w, got := state.(present), input.(write), output.(outcome)
		next, status := now.after(w, got.etag)
		return status == got.status, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v → %v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%q", state) },
}

// after returns the state and the status that a write leads to. A successful one has the new ETag.
func (now present) after(w write, etag string) (next present, status int) {
	exists := now != ""
	switch {
	case w.method == "POST" && exists:
		return now, 409
	case w.method == "POST":
		return present(etag), 201
	case !exists: // a precondition does not count (RFC 9110, section 13.2.1)
		return now, 404
	case w.ifMatch != "" && w.ifMatch != string(now):
		return now, 412
	case w.method == "DELETE":
		return "", 204
	}
	return present(etag), 200
}

// TestHistories checks that the specification tells histories that can be from others.
func TestHistories(t *testing.T) {
	at := func(from, to int64, w write, got outcome) porcupine.Operation {
		return porcupine.Operation{Input: w, Output: got, Call: from, Return: to}
	}
	for _, test := range []struct {
		name    string
		history []porcupine.Operation
		can     bool
	}{
		{"in order", []porcupine.Operation{
			at(0, 1, write{"POST", ""}, outcome{201, "a"}), at(2, 3, write{"PUT", "a"}, outcome{200, "b"}),
			at(4, 5, write{"PUT", "a"}, outcome{412, ""}), at(6, 7, write{"DELETE", ""}, outcome{204, ""}),
		}, true},
		{"at once, in either order", []porcupine.Operation{
			at(0, 9, write{"DELETE", ""}, outcome{204, ""}), at(0, 9, write{"POST", ""}, outcome{201, "a"}),
		}, true},
		{"two that both won", []porcupine.Operation{
			at(0, 1, write{"POST", ""}, outcome{201, "a"}),
			at(2, 9, write{"PUT", "a"}, outcome{200, "b"}), at(2, 9, write{"PUT", "a"}, outcome{200, "c"}),
		}, false},
		{"created twice", []porcupine.Operation{
			at(0, 1, write{"POST", ""}, outcome{201, "a"}), at(2, 3, write{"POST", ""}, outcome{201, "b"}),
		}, false},
		{"a write that came too early", []porcupine.Operation{
			at(0, 1, write{"PUT", ""}, outcome{200, "b"}), at(2, 3, write{"POST", ""}, outcome{201, "a"}),
		}, false},
	} {
		if can := porcupine.CheckOperations(histories, test.history); can != test.can {
			t.Errorf("%s: got %t", test.name, can)
		}
	}
}

// testHistories records short histories of writes to one client, by workers at all balancers, and
// looks for an order of each that explains every response.
func testHistories(t *testing.T, in *instances) {
	const workers, each = 6, 6
	for round := range rounds(10, 300) {
		from := fmt.Sprintf("127.0.6.%d", 1+round%200)
		var mu sync.Mutex
		var history []porcupine.Operation
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				etag := ""
				for n := range each {
					operation, ok := writeOnce(t, in.all[(w+n)%len(in.all)], from, round+w+n, &etag)
					operation.ClientId = w
					mu.Lock()
					history = append(history, operation)
					mu.Unlock()
					if !ok {
						return
					}
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		if got := porcupine.CheckOperationsTimeout(histories, history, 10*time.Second); got == porcupine.Illegal {
			t.Fatalf("no order explains the history of round %d: %+v", round, history)
		}
		in.all[0].api(t, "DELETE", "/clients/"+from, "") // it may be gone
	}
}

// writeOnce sends the write of a number. etag is what the worker has seen last.
func writeOnce(t *testing.T, b *balancer, from string, number int, etag *string) (porcupine.Operation, bool) {
	w := write{[]string{"POST", "PUT", "PUT", "DELETE"}[number%4], ""}
	path, body, fields := "/clients/"+from, terms(int64(100+number)), []string(nil)
	switch {
	case w.method == "POST":
		path, body = "/clients/", at(from, int64(100+number))
	case w.method == "DELETE":
		body = ""
	case number%2 == 1 && *etag != "":
		w.ifMatch = *etag
		fields = append(fields, "If-Match: "+*etag)
	}
	operation := porcupine.Operation{Input: w, Call: time.Now().UnixNano()}
	a, err := b.try(w.method, path, body, fields...)
	operation.Return = time.Now().UnixNano()
	got := outcome{status: a.status}
	if a.status == 200 || a.status == 201 {
		got.etag = a.header.Get("ETag")
		*etag = got.etag
	}
	operation.Output = got
	if err != nil || a.status == 503 || (a.status == 200 || a.status == 201) && got.etag == "" {
		t.Errorf("%v: got %s, %v", w, a, err)
		return operation, false
	}
	return operation, true
}
