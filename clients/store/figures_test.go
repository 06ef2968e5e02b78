package store

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"loadbalancer/limiter"
)

var long = flag.Bool("long", false, "measure 1,000,000 clients, which takes minutes")

const million = 1_000_000

// TestFileFigures measures a file of 1,000,000 clients, two in three with keys, in an order that no
// import has.
func TestFileFigures(t *testing.T) {
	if !*long {
		t.Skip("-long is not set")
	}
	for _, order := range []struct {
		what string
		of   []int
		most time.Duration
	}{{"in order", inOrder(), 50 * time.Second}, {"in no order", rand.Perm(million), 100 * time.Second}} {
		path := filepath.Join(t.TempDir(), "clients.db")
		f := openTestFile(t, path)
		began := time.Now()
		for rest := order.of; len(rest) > 0; rest = rest[1000:] {
			var batch []Client
			for _, n := range rest[:1000] {
				batch = append(batch, figureClient(n))
			}
			put(t, f, batch...)
		}
		took := time.Since(began)
		info, _ := os.Stat(path)
		t.Logf("import %s: %.0f a second, %d MiB", order.what, million/took.Seconds(), info.Size()>>20)
		if took > order.most {
			t.Errorf("the import took %v", took)
		}
		logHeap(t)
		fileFigures(t, f, path)
	}
}

func inOrder() (all []int) {
	for n := range million {
		all = append(all, n)
	}
	return all
}

func fileFigures(t *testing.T, f *File, path string) {
	for _, ask := range []struct {
		what string
		do   func(Tx) (int, error)
	}{
		{"users", func(tx Tx) (int, error) { return tx.PlanUsers("gold") }},
		{"overriding", func(tx Tx) (int, error) { c, err := tx.Overriding("gold"); return len(c), err }},
	} {
		began := time.Now()
		writeTo(t, f, func(tx Tx) error {
			n, err := ask.do(tx)
			t.Logf("%s: %d in %v", ask.what, n, time.Since(began))
			return err
		})
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("%s took %v", ask.what, took)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	f = openTestFile(t, path)
	opened := time.Since(began)
	n := readAll(t, f)
	took := time.Since(began)
	t.Logf("open: %v, and read %d: %v", opened, n, took)
	if took > 3*time.Second || n != million {
		t.Errorf("open and read %d took %v", n, took)
	}
	logHeap(t)
	pageTimes(t, f)
}

// figureClient returns a client as many have them.
func figureClient(n int) Client {
	c := numbered(n)
	c.Labels, c.Plan = nil, "gold"
	if n%100 != 0 {
		c.Own.Capacity, c.Own.RatePerSecond = 0, 0
	}
	if len(c.Keys) > 0 {
		c.Keys = c.Keys[:1]
	}
	return c
}

func readAll(t *testing.T, r Records) (n int) {
	for after := (limiter.ID{}); ; {
		page, err := r.Clients(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return n
		}
		n += len(page)
		after = page[len(page)-1].ID
	}
}

func pageTimes(t *testing.T, r Records) {
	for _, after := range []limiter.ID{{}, {Name: "customer-99"}} {
		best := time.Hour
		for range 20 {
			began := time.Now()
			if page, err := r.Clients(after, 1000); err != nil || len(page) != 1000 {
				t.Fatalf("%d clients, %v", len(page), err)
			}
			best = min(best, time.Since(began))
		}
		t.Logf("the page behind %q: %v", after.Name, best)
	}
}

func logHeap(t *testing.T) uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("heap: %.1f MiB", float64(m.HeapAlloc)/(1<<20))
	return m.HeapAlloc
}

// TestCopyFigures measures a copy of 1,000,000 clients.
func TestCopyFigures(t *testing.T) {
	if !*long {
		t.Skip("-long is not set")
	}
	path := filepath.Join(t.TempDir(), "clients.snapshot")
	c := openTestCopy(t, path)
	clients := []Client{figureClient(1)}
	began := time.Now()
	b := c.Build(Position{"h", 1})
	for i := range million {
		one := clients[0]
		one.ID.Name = fmt.Sprintf("customer-%07d", i)
		_ = b.Add(one)
	}
	added := time.Since(began)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	t.Logf("build: added in %v, committed in %v", added, time.Since(began))
	if heap := logHeap(t); heap > 20<<20 {
		t.Errorf("the heap has %d bytes", heap)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	c = openTestCopy(t, path)
	opened := time.Since(began)
	n := readAll(t, c)
	t.Logf("open: %v, and read %d: %v", opened, n, time.Since(began))
	logHeap(t)
	var changed []Client
	for i := range 10_000 {
		one := clients[0]
		one.ID.Name = fmt.Sprintf("customer-%07d", i*99)
		changed = append(changed, one)
	}
	made := time.Now()
	c.Apply(Changes{Position: Position{"h", 2}, Clients: changed})
	t.Logf("apply 10,000: %v", time.Since(made))
	made = time.Now()
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("flush 10,000: %v", time.Since(made))
}
