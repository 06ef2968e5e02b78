package store

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/limiter"
)

func TestUsageIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db.usage")
	want := map[limiter.ID]limiter.Usage{
		{Name: "acme"}:                                     {Allowed: 1, Limited: 2, ShadowLimited: 3, Blocked: 4, TrialLimited: 5, LastSeen: time.Unix(1_800_000_000, 0)},
		{Name: strings.Repeat("x", MaxName)}:               {Allowed: 1<<63 - 1, Limited: 1<<63 - 1, ShadowLimited: 1<<63 - 1, Blocked: 1<<63 - 1, TrialLimited: 1<<63 - 1},
		{Prefix: netip.MustParsePrefix("10.0.0.0/8")}:      {Limited: 1},
		{Prefix: netip.MustParsePrefix("2001:db8::1/128")}: {},
		{Prefix: netip.MustParsePrefix("0.0.0.0/0")}:       {LastSeen: time.Unix(1, 0)},
	}
	if err := os.WriteFile(path+newSuffix, []byte(strings.Repeat("what was left of an earlier one", 99)), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over a file
		if err := SaveUsage(path, maps.All(want)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	all, err := TakeUsage(path)
	if got := maps.Collect(all); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	requireNone(t, path, nil)
	if err := SaveUsage(path, maps.All(map[limiter.ID]limiter.Usage{})); err != nil {
		t.Fatal(err)
	}
	requireNone(t, path, nil)
	if err := SaveUsage(filepath.Join(path, "no", "folder"), maps.All(want)); err == nil {
		t.Error("saved where there is no folder")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestUsageOnAFullDisk: what was there stays as it was, and nothing is left beside it.
func TestUsageOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	path := filepath.Join(dir, "clients.db.usage")
	want := map[limiter.ID]limiter.Usage{{Name: "acme"}: {Allowed: 1}}
	if err := SaveUsage(path, maps.All(want)); err != nil {
		t.Fatal(err)
	}
	free := fill(t, dir)
	if err := SaveUsage(path, maps.All(map[limiter.ID]limiter.Usage{{Name: "acme"}: {Allowed: 2}})); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	free()
	if left, _ := filepath.Glob(dir + "/*"); !slices.Equal(left, []string{path}) {
		t.Errorf("%q are left", left)
	}
	if all, err := TakeUsage(path); err != nil || !reflect.DeepEqual(maps.Collect(all), want) {
		t.Errorf("the file has lost what it had: %v", err)
	}
}

func TestDamagedUsage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db.usage")
	if err := SaveUsage(path, maps.All(map[limiter.ID]limiter.Usage{{Name: "acme"}: {Allowed: 1}})); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		damaged := []byte(string(whole))
		damaged[at] ^= 0x10
		for what, content := range map[string][]byte{"damaged": damaged, "cut": whole[:at]} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Run(fmt.Sprintf("%s at %d", what, at), func(t *testing.T) { requireNone(t, path, ErrDamaged) })
		}
	}
}

// requireNone checks that a file has no usage, and is not there from then on.
func requireNone(t *testing.T, path string, want error) {
	t.Helper()
	all, err := TakeUsage(path)
	next, stop := iter.Pull2(all)
	defer stop()
	if id, _, found := next(); found || !errors.Is(err, want) {
		t.Errorf("found %v, %v", id, err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is left")
	}
}
