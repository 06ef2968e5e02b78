package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/limiter"
)

func openTestCopy(t testing.TB, path string) *Copy {
	t.Helper()
	c, err := OpenCopy(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
	return c
}

// run has the copy write its snapshot until the test, or stop, ends it.
func run(t testing.TB, c *Copy) (stop func(), failed <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 100)
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx, func(err error) { errs <- err }) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop, errs
}

func build(t testing.TB, c *Copy, at Position, plans []Plan, clients ...Client) {
	t.Helper()
	b := c.Build(at)
	for i := range clients {
		if err := b.Add(clients[i]); err != nil {
			t.Fatal(err)
		}
	}
	b.Plans(plans)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestCopyOfRandomChanges compares a copy with the store in memory that the changes are made in, and
// opens it anew now and then.
func TestCopyOfRandomChanges(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "clients.snapshot")} {
		c, m := openTestCopy(t, path), OpenMemory(testBounds)
		put(t, m, testClients(50)...)
		if c.Loaded() {
			t.Error("an empty copy is loaded")
		}
		before, _ := all(t, m)
		build(t, c, m.Position(), nil, before...)
		for round := range 150 {
			c.Apply(randomWrite(t, m))
			if rand.IntN(4) == 0 {
				if err := c.flush(); err != nil {
					t.Fatal(err)
				}
			}
			if path != "" && round%30 == 29 {
				if err := errors.Join(c.flush(), c.Close()); err != nil {
					t.Fatal(err)
				}
				c = openTestCopy(t, path)
			}
			if !c.Loaded() || c.Position() != m.Position() {
				t.Fatalf("loaded %v at %v, want %v", c.Loaded(), c.Position(), m.Position())
			}
			sameRecords(t, c, m)
			samePlans(t, c, m)
		}
	}
}

func randomWrite(t *testing.T, m *Memory) Changes {
	return writeTo(t, m, func(tx Tx) error {
		var clients []Client
		for range rand.IntN(10) {
			clients = append(clients, numbered(rand.IntN(100)))
		}
		var deleted []limiter.ID
		for range rand.IntN(5) {
			deleted = append(deleted, numbered(rand.IntN(100)).ID)
		}
		name := fmt.Sprint("plan-", rand.IntN(9))
		err := tx.DeletePlan(name)
		if rand.IntN(2) == 0 {
			err = tx.PutPlan(Plan{Name: fmt.Sprint("plan-", rand.IntN(9)), Terms: numbered(1).Own, CreatedAt: Now()})
		}
		return errorsFirst(err, tx.Put(deleteRepeated(clients, map[limiter.ID]bool{})), tx.Delete(deleted))
	})
}

func samePlans(t *testing.T, got, want Records) {
	t.Helper()
	a, errA := got.Plans()
	b, errB := want.Plans()
	if errA != nil || errB != nil || len(a) != len(b) {
		t.Fatalf("%v %v, want %v %v", a, errA, b, errB)
	}
	for i := range a {
		one, err := got.Plan(b[i].Name)
		if a[i] != b[i] || one != b[i] || err != nil {
			t.Fatalf("%v, want %v", a[i], b[i])
		}
	}
}

// TestCopyRuns checks that Run writes what changes while it flushes, in time, and at the end.
func TestCopyRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.snapshot")
	c := openTestCopy(t, path)
	build(t, c, Position{"h", 1}, nil, testClients(10)...)
	stop, failed := run(t, c)
	for i := range 50 {
		one := numbered(i)
		c.Apply(Changes{Position: Position{"h", int64(i + 2)}, Clients: []Client{one}})
	}
	for deadline := time.Now().Add(10 * time.Second); c.now.Load().clients.Len() > 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was written")
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Apply(Changes{Position: Position{"h", 100}, Deleted: []limiter.ID{numbered(7).ID}})
	stop()
	if len(failed) > 0 {
		t.Error(<-failed)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openTestCopy(t, path)
	if got, err := all(t, c); err != nil || len(got) != 49 || c.Position() != (Position{"h", 100}) {
		t.Errorf("%d clients at %v, %v", len(got), c.Position(), err)
	}
}

// TestCopyDeletedMeanwhile has the file deleted, and another put in its place.
func TestCopyDeletedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.snapshot")
	c := openTestCopy(t, path)
	build(t, c, Position{"h", 1}, []Plan{{Name: "p"}}, testClients(2500)...)
	for i, replace := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("another"), 0o600)) },
	} {
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		c.Apply(Changes{Position: Position{"h", int64(i + 2)}, Deleted: []limiter.ID{numbered(i).ID}})
		if err := c.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openTestCopy(t, path)
	if got, err := all(t, c); err != nil || len(got) != 2498 || c.Position() != (Position{"h", 3}) {
		t.Errorf("%d clients at %v, %v", len(got), c.Position(), err)
	}
	if plans, err := c.Plans(); err != nil || len(plans) != 1 {
		t.Errorf("the plans are %v, %v", plans, err)
	}
}

// TestCopyReadersGoOn has readers while contents are swapped and flushed.
func TestCopyReadersGoOn(t *testing.T) {
	c := openTestCopy(t, filepath.Join(t.TempDir(), "clients.snapshot"))
	build(t, c, Position{"h", 1}, nil, testClients(300)...)
	ended := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if got, err := all(t, c); err != nil || len(got) != 300 {
					t.Errorf("%d clients, %v", len(got), err)
					return
				}
			}
		})
	}
	for i := range 30 {
		c.Apply(Changes{Position: Position{"h", int64(i)}, Clients: testClients(5)})
		if err := c.flush(); err != nil {
			t.Error(err)
		}
		build(t, c, Position{"h", int64(i)}, nil, testClients(300)...)
	}
	close(ended)
	readers.Wait()
}

func TestCopyWithoutASnapshotThatIsWhole(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "garbage"), []byte(strings.Repeat("no database ", 9999)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openTestFile(t, filepath.Join(dir, "store")).Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"empty": "is damaged", "garbage": "is damaged", "store": "another kind of file", "": "directory"} {
		c, err := OpenCopy(filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), dir) || c.Loaded() {
			t.Errorf("%s: %v, want %q", name, err, text)
		}
		build(t, c, Position{"h", 1}, []Plan{{Name: "p"}}, testClients(2000)...)
		if got, err := all(t, c); err != nil || len(got) != 2000 || !c.Loaded() {
			t.Errorf("%s: %d clients, %v", name, len(got), err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if name == "" {
			continue
		}
		c = openTestCopy(t, filepath.Join(dir, name))
		if got, err := all(t, c); err != nil || len(got) != 2000 {
			t.Errorf("%s, opened again: %d clients, %v", name, len(got), err)
		}
	}
}

// TestCopyHeldByAnother opens the snapshot of a copy that goes on writing: it is read as it is, and
// taken over at the end of the other.
func TestCopyHeldByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.snapshot")
	first := openTestCopy(t, path)
	plans := []Plan{{Name: "gold", Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 5, RatePerSecond: 1}}}}
	build(t, first, Position{"h", 1}, plans, testClients(2500)...)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { first.Run(ctx, func(err error) { t.Error(err) }) })
	first.Apply(Changes{Position: Position{"h", 2}, Clients: testClients(1)})

	second, err := OpenCopy(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := all(t, second); err != nil || len(got) != 2500 || !second.Loaded() || second.Position().History != "h" {
		t.Errorf("of the held snapshot there are %d clients, %v, at %v", len(got), err, second.Position())
	}
	samePlans(t, second, first)
	build(t, second, Position{"h", 3}, nil, testClients(4)...)
	if err := second.flush(); err == nil {
		t.Error("the snapshot of another was written")
	}
	cancel()
	running.Wait()
	if err := errors.Join(first.Close(), second.flush(), second.Close()); err != nil {
		t.Error(err)
	}
	third := openTestCopy(t, path)
	if got, err := all(t, third); err != nil || len(got) != 4 || third.Position().Version != 3 {
		t.Errorf("taken over, there are %d clients, %v, at %v", len(got), err, third.Position())
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("there are %q", names)
	}
}

func TestCopyAborted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.snapshot")
	c := openTestCopy(t, path)
	build(t, c, Position{"h", 1}, nil, testClients(3)...)
	b := c.Build(Position{"h", 2})
	if err := b.Add(numbered(9)); err != nil {
		t.Fatal(err)
	}
	b.Abort()
	if got, err := all(t, c); err != nil || len(got) != 3 || c.Position().Version != 1 {
		t.Errorf("%d clients, %v", len(got), err)
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("there are %q", names)
	}
}
