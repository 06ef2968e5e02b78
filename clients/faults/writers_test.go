package faults

import (
	"cmp"
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
	if written.Load() < writers/10 { // each takes its turn at the database, for 3 s at most
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

// write is an operation on the one client of a history; outcome is its response. A GET reads what the
// table has in the end. Status 0 stands for an outcome that is unknown.
type write struct{ method, ifMatch string }

type outcome struct {
	status int
	etag   string
}

// present is the state that the writes of a history go by: the ETag of the client, "" where there
// is none.
type present string

// unseen is the ETag of a client that a write of unknown outcome has left.
const unseen present = "unseen"

// histories is the specification of the writes: each takes effect at one moment after its request
// and, if its outcome is known, before its response.
var histories = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{present("")} },
	Step: func(state, input, output any) []any {
		now, w, got := state.(present), input.(write), output.(outcome)
		if got.status == 0 {
			next, _ := now.after(w, string(unseen))
			return []any{now, next}
		}
		if next, status := now.after(w, got.etag); status == got.status {
			return []any{next}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v → %v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%q", state) },
}).ToModel()

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
	case w.method == "GET" && now != unseen && now != present(etag):
		return now, 0
	case w.method == "GET":
		return now, 200
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
		{"an unknown write that was done", []porcupine.Operation{
			at(0, 99, write{"POST", ""}, outcome{0, ""}), at(2, 3, write{"POST", ""}, outcome{409, ""}),
			at(4, 5, write{"GET", ""}, outcome{200, "z"}),
		}, true},
		{"an unknown write that was not done", []porcupine.Operation{
			at(0, 99, write{"POST", ""}, outcome{0, ""}), at(2, 3, write{"POST", ""}, outcome{201, "a"}),
			at(4, 5, write{"GET", ""}, outcome{200, "a"}),
		}, true},
		{"a write that is lost", []porcupine.Operation{
			at(0, 1, write{"POST", ""}, outcome{201, "a"}), at(2, 3, write{"GET", ""}, outcome{404, ""}),
		}, false},
		{"a refused write that was done", []porcupine.Operation{
			at(0, 1, write{"POST", ""}, outcome{201, "a"}), at(4, 5, write{"GET", ""}, outcome{200, "b"}),
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
	for round := range rounds(10, 300) {
		from := fmt.Sprintf("127.0.6.%d", 1+round%200)
		history := record(t, in.all, from, round)
		for _, o := range history {
			if o.Output.(outcome).status == 0 {
				t.Errorf("the outcome of %v is unknown", o.Input)
			}
		}
		requireExplained(t, history)
		in.all[0].api(t, "DELETE", "/clients/"+from, "") // it may be gone
	}
}

// TestHistoriesUnderFaults does the same while connections end. What was refused has had no effect,
// and what is unknown may have had one.
func TestHistoriesUnderFaults(t *testing.T) {
	t.Parallel()
	s := newSharedSite(t, overLink)
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			case <-time.After(time.Duration(100+n%7*40+2*n) * time.Millisecond): // a slow machine gets its turn in the end
			}
			if n%3 == 0 {
				_ = s.tryExec("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+s.name+"'")
			} else {
				s.link.drop()
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
	})
	defer end()
	all := map[string][]porcupine.Operation{}
	for round := range rounds(8, 200) {
		from := fmt.Sprintf("127.0.12.%d", 1+round)
		all[from] = record(t, s.all, from, round)
	}
	end()
	s.healed(t)
	known, unknown := 0, 0
	for from, history := range all {
		for i, o := range history {
			if o.Output.(outcome).status == 0 {
				history[i].Return = time.Now().UnixNano() // it may have had its effect at any time
				unknown++
			} else {
				known++
			}
		}
		last := porcupine.Operation{ClientId: 99, Input: write{"GET", ""}, Call: time.Now().UnixNano()}
		a := s.all[0].api(t, "GET", "/clients/"+from, "")
		last.Output, last.Return = outcome{a.status, a.header.Get("ETag")}, time.Now().UnixNano()
		requireExplained(t, append(history, last))
		stored := s.query(t, s.name, "SELECT count(*) FROM clients WHERE ip_address = '"+from+"'")
		if exists := a.status == 200; exists != (stored == "1") {
			t.Errorf("%s: the balancer shows %s, the table has %s rows", from, a, stored)
		}
	}
	t.Logf("%d writes were answered, the outcome of %d was unknown", known, unknown)
	requireUnhurt(t, "connections end", s.traffic.phase(t))
}

func requireExplained(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	if got := porcupine.CheckOperationsTimeout(histories, history, 10*time.Second); got == porcupine.Illegal {
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		var text strings.Builder
		for _, o := range history {
			fmt.Fprintf(&text, "%8.3f to %8.3f ms, worker %d: %+v → %+v\n", float64(o.Call-history[0].Call)/1e6, float64(o.Return-history[0].Call)/1e6,
				o.ClientId, o.Input, o.Output)
		}
		t.Fatalf("no order explains the history\n%s", &text)
	}
}

// record has workers write to one client and returns what they met. Writes that were refused, with
// 503 and a known outcome, are left out: they have had no effect.
func record(t *testing.T, all []*instance, from string, seed int) (history []porcupine.Operation) {
	const workers, each, patience = 6, 6, 3 * deadline // a machine may take long for what others do in 2 s
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			etag := ""
			for n, end := 0, time.Now().Add(patience); n < each; {
				operation, refused := writeOnce(t, all[(w+n)%len(all)], from, seed+w+n, &etag)
				if refused {
					if time.Now().After(end) {
						t.Errorf("%s: writes are refused for %s", from, patience)
						return
					}
					time.Sleep(5 * time.Millisecond) // it has Retry-After, which is whole seconds
					continue
				}
				operation.ClientId = w
				mu.Lock()
				history = append(history, operation)
				mu.Unlock()
				n++
			}
		})
	}
	wg.Wait()
	return history
}

// writeOnce sends the write of a number. etag is what the worker has seen last.
func writeOnce(t *testing.T, b *instance, from string, number int, etag *string) (o porcupine.Operation, refused bool) {
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
	o = porcupine.Operation{Input: w, Call: time.Now().UnixNano()}
	a, err := b.try(w.method, path, body, fields...)
	o.Return = time.Now().UnixNano()
	got := outcome{status: a.status}
	switch {
	case err != nil:
		t.Errorf("%v: got %s, %v", w, a, err)
	case a.status == 503 && a.outcome() == "unknown":
		got.status = 0
	case a.status == 503:
		return o, true
	case a.status == 200 || a.status == 201:
		if got.etag = a.header.Get("ETag"); got.etag == "" {
			t.Errorf("%v: got %s, without an ETag", w, a)
		}
		*etag = got.etag
	}
	o.Output = got
	return o, false
}
