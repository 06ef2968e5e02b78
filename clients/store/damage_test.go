package store

import (
	"bytes"
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

// damages are what may become of a file. Each returns false if it has changed nothing.
var damages = []struct {
	what string
	do   func(content []byte) []byte
}{
	{"a bit", func(b []byte) []byte { b[rand.IntN(len(b))] ^= 1 << rand.IntN(8); return b }},
	{"a bit of a header", func(b []byte) []byte { b[rand.IntN(len(b)/4096)*4096+rand.IntN(96)] ^= 1 << rand.IntN(8); return b }},
	{"bits", func(b []byte) []byte {
		for range 20 {
			b[rand.IntN(len(b))] ^= byte(rand.IntN(256))
		}
		return b
	}},
	{"a page of zeros", func(b []byte) []byte { clear(b[rand.IntN(len(b)/4096)*4096:][:4096]); return b }},
	{"a page of another", func(b []byte) []byte {
		copy(b[rand.IntN(len(b)/4096)*4096:][:4096], b[rand.IntN(len(b)/4096)*4096:])
		return b
	}},
	{"zeros", func(b []byte) []byte { at := rand.IntN(len(b)); clear(b[at:min(len(b), at+rand.IntN(9000))]); return b }},
	{"noise", func(b []byte) []byte {
		at := rand.IntN(len(b) - 512)
		for i := range 512 {
			b[at+i] = byte(rand.IntN(256))
		}
		return b
	}},
	{"the end cut off", func(b []byte) []byte { return b[:rand.IntN(len(b))] }},
	{"an old end", func(b []byte) []byte { return append(b[:rand.IntN(len(b))], b...) }},
}

// storeOf300 returns the content of a file with all kinds of records, after some commits, and the
// file as it was.
func storeOf300(t *testing.T) ([]byte, *Memory) {
	path := filepath.Join(t.TempDir(), "good")
	f, m := openTestFile(t, path), OpenMemory(testBounds)
	for i := range 30 {
		for _, s := range []Store{f, m} {
			writeTo(t, s, func(tx Tx) error {
				return errorsFirst(tx.Put(testClients(300)[i*10:][:10]), tx.PutPlan(Plan{Name: fmt.Sprint("plan-", i)}),
					tx.Note(Entry{At: time.Now(), Target: "x"}), tx.Remember(Reply{Key: fmt.Sprint(i), At: time.Now()}),
					tx.Delete([]limiter.ID{numbered(i * 5).ID}))
			})
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content, m
}

// TestDamageIsFound damages a file in random ways. What is opened is all that was written, or an
// error: never a panic, and never another record.
func TestDamageIsFound(t *testing.T) {
	good, want := storeOf300(t)
	path := filepath.Join(t.TempDir(), "clients.db")
	rounds := 100
	if *long {
		rounds = 1000
	}
	for _, damage := range damages {
		whole := 0
		for range rounds {
			bad := damage.do(bytes.Clone(good))
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := OpenFile(path, testBounds)
			if err != nil {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "restore it") {
					t.Fatalf("%s: %v", damage.what, err)
				}
				continue
			}
			whole++
			sameRecords(t, f, want)
			samePlans(t, f, want)
			if entries, err := f.Audit(t.Context(), 0, 100); err != nil || len(entries) != 30 {
				t.Errorf("%s: %d entries, %v", damage.what, len(entries), err)
			}
			put(t, f, numbered(500))
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if f, err = OpenFile(path, testBounds); err != nil {
				t.Fatalf("%s, written to: %v", damage.what, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%s: %d of %d files were whole", damage.what, whole, rounds)
	}
}

// TestDamageWhileItRuns cuts or overwrites a file that is open. Each call returns what was written, or
// the damage, which is told once.
func TestDamageWhileItRuns(t *testing.T) {
	for what, do := range map[string]func(path string) error{
		"cut to nothing":  func(path string) error { return os.Truncate(path, 0) },
		"cut to a page":   func(path string) error { return os.Truncate(path, 4096) },
		"cut in a page":   func(path string) error { return os.Truncate(path, 20_000) },
		"pages of zeros":  func(path string) error { return overwrite(path, make([]byte, 1<<16)) },
		"pages of noise":  func(path string) error { return overwrite(path, bytes.Repeat([]byte{0xA5}, 1<<16)) },
		"cut and regrown": func(path string) error { return errors.Join(os.Truncate(path, 8192), os.Truncate(path, 1<<20)) },
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "clients.db")
			f := openTestFile(t, path)
			put(t, f, testClients(300)...)
			var users sync.WaitGroup
			first := 0
			if what == "pages of noise" { // a commit that is under way may take it for billions of pages
				first = 1
			}
			for i := first; i < 4; i++ {
				users.Go(func() { useUntilDamaged(t, f, i, !strings.HasPrefix(what, "cut ") || what == "cut and regrown") })
			}
			time.Sleep(20 * time.Millisecond)
			if err := do(path); err != nil {
				t.Fatal(err)
			}
			users.Wait()
			select {
			case err := <-f.Failed():
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
					t.Error(err)
				}
			default:
				t.Error("the damage was not told")
			}
			if _, err := f.Write(t.Context(), func(Tx) error { return nil }); !errors.Is(err, ErrDamaged) {
				t.Errorf("a write returned %v", err)
			}
			if _, err := f.Client(numbered(1).ID); !errors.Is(err, ErrDamaged) {
				t.Errorf("a read returned %v", err)
			}
		})
	}
}

func overwrite(path string, with []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(with, 8192)
	return errors.Join(err, file.Close())
}

// useUntilDamaged reads, and the first of them writes. While a page that is read is overwritten its
// clients may be missing for the moment.
func useUntilDamaged(t *testing.T, f *File, n int, overwritten bool) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		want := numbered(rand.IntN(300))
		var err error
		if n == 0 {
			_, err = f.Write(t.Context(), func(tx Tx) error { return tx.Put([]Client{want}) })
		} else {
			var got Client
			got, err = f.Client(want.ID)
			if want.Version = got.Version; err == nil && !got.Equal(&want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if errors.Is(err, ErrDamaged) {
			return
		}
		if err != nil && !(overwritten && errors.Is(err, ErrNotFound)) {
			t.Errorf("%d: %v", n, err)
			return
		}
	}
	t.Errorf("%d: the damage was not found", n)
}

func TestFileCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "short": "x", "garbage": strings.Repeat("not a database ", 4096)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(path, testBounds); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing", "clients.db"), "/dev/null"} {
		if _, err := OpenFile(path, testBounds); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestListOfFreePagesIsDamagedWhileItRuns has nothing but a write, which has to look at the list.
func TestListOfFreePagesIsDamagedWhileItRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	f := openTestFile(t, path)
	put(t, f, testClients(300)...)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := openPages(file, 1<<20)
	if err == nil {
		_, err = file.WriteAt(bytes.Repeat([]byte{0xA5}, 4096), int64(pages.freelist)*pages.size)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(t.Context(), func(tx Tx) error { return tx.Put(testClients(1)) }); !errors.Is(err, ErrDamaged) {
		t.Errorf("a write returned %v", err)
	}
}

// TestCopyIsDamagedWhileItRuns makes the copy anew.
func TestCopyIsDamagedWhileItRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.snapshot")
	c := openTestCopy(t, path)
	build(t, c, Position{"h", 1}, nil, testClients(300)...)
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client(numbered(1).ID); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("a read returned %v", err)
	}
	if c.Loaded() {
		t.Error("it is loaded")
	}
	c.Apply(Changes{Position: Position{"h", 2}, Clients: []Client{numbered(1)}})
	if err := c.flush(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a flush returned %v", err)
	}
	build(t, c, Position{"h", 3}, nil, testClients(301)...)
	if got, err := all(t, c); err != nil || len(got) != 301 || !c.Loaded() {
		t.Errorf("%d clients, %v", len(got), err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c = openTestCopy(t, path)
	if got, err := all(t, c); err != nil || len(got) != 301 {
		t.Errorf("opened again, %d clients, %v", len(got), err)
	}
}

// TestPanicsOfOthersPassOn checks that a panic of decide is none of the file, which lives on, and that
// an error that decide swallows ends the transaction.
func TestPanicsOfOthersPassOn(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "clients.db"))
	put(t, f, testClients(10)...)
	func() {
		defer func() {
			if cause := recover(); cause != "of decide" {
				t.Errorf("the panic is %v", cause)
			}
		}()
		_, _ = f.Write(t.Context(), func(tx Tx) error {
			_ = tx.Put(testClients(20))
			panic("of decide")
		})
	}()
	_, err := f.Write(t.Context(), func(tx Tx) error {
		thief := numbered(100)
		thief.Keys[0].Digest = testDigest(1)
		_ = tx.Put([]Client{numbered(50), thief})
		return nil
	})
	if !errors.Is(err, ErrKeyTaken) {
		t.Errorf("a write returned %v", err)
	}
	twice := numbered(1)
	twice.Keys = nil
	put(t, f, numbered(1), twice)
	gone := []limiter.ID{numbered(2).ID, numbered(2).ID, numbered(999).ID}
	writeTo(t, f, func(tx Tx) error { return tx.Delete(gone) })
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openTestFile(t, f.bolt.path)
	got, err := all(t, f)
	if one, _ := f.Client(numbered(1).ID); err != nil || len(got) != 9 || len(one.Keys) != 0 {
		t.Errorf("%d clients, %v, and the keys %v", len(got), err, one.Keys)
	}
}

// TestFileIsMadeOverARest checks that what a process left when it died in the making is no obstacle.
func TestFileIsMadeOverARest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"clients.db", "clients.snapshot"} {
		if err := os.WriteFile(filepath.Join(dir, name+newSuffix), []byte("a rest"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(t, openTestFile(t, filepath.Join(dir, "clients.db")), testClients(3)...)
	build(t, openTestCopy(t, filepath.Join(dir, "clients.snapshot")), Position{"h", 1}, nil, testClients(3)...)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("there are %v, %v", entries, err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
		}
	}
}
