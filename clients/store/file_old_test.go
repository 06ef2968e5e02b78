package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// oldFile makes a file as older versions did: records and, unless nil, keys.
func oldFile(t *testing.T, records, keys map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for name, content := range map[string]map[string]string{clientsBucket: records, oldKeysBucket: keys} {
			if content == nil {
				continue
			}
			bucket, err := tx.CreateBucket([]byte(name))
			for key, value := range content {
				err = errors.Join(err, bucket.Put([]byte(key), []byte(value)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

const oldTimes = `"created_at":"2025-06-01T12:00:00.123456Z","updated_at":"2025-06-01T12:30:00Z"`

func TestFileOfAnOlderVersion(t *testing.T) {
	const address = "\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01\x20"
	records := map[string]string{address: `{"capacity":7,"rate_per_second":0.5,` + oldTimes + `}`}
	keys := map[string]string{}
	for i := range 2500 {
		name := fmt.Sprint("customer-", i)
		digest := testDigest(i)
		records["n"+name] = fmt.Sprintf(`{"api_key_sha256":%q,"capacity":%d,"rate_per_second":2,"max_in_flight":3,"shadow":true,`+
			`"trial":{"capacity":4,"rate_per_second":5},%s}`, base64.StdEncoding.EncodeToString(digest[:]), i+1, oldTimes)
		keys[string(digest[:])] = "n" + name
	}
	path := oldFile(t, records, keys)
	for range 2 {
		f := openTestFile(t, path)
		got, err := all(t, f)
		if err != nil || len(got) != len(records) {
			t.Fatalf("%d clients, %v", len(got), err)
		}
		created, updated := time.Date(2025, 6, 1, 12, 0, 0, 123456000, time.UTC), time.Date(2025, 6, 1, 12, 30, 0, 0, time.UTC)
		want := Client{ID: idOf("10.0.0.1"), Own: limiter.Terms{Limit: limiter.Limit{Capacity: 7, RatePerSecond: 0.5}},
			CreatedAt: created, UpdatedAt: updated, Version: 1}
		if !got[0].Equal(&want) {
			t.Errorf("got %+v, want %+v", got[0], want)
		}
		want.ID = idOf("customer-8")
		want.Keys = []Key{{ID: "1", Digest: testDigest(8), CreatedAt: created}}
		want.Own = limiter.Terms{Limit: limiter.Limit{Capacity: 9, RatePerSecond: 2}, MaxInFlight: 3, Shadow: true, Trial: limiter.Limit{Capacity: 4, RatePerSecond: 5}}
		if one, err := f.Client(want.ID); err != nil || !one.Equal(&want) {
			t.Errorf("got %+v, %v, want %+v", one, err, want)
		}
		writeTo(t, f, func(tx Tx) error {
			holders, err := tx.Holders([]limiter.KeyDigest{testDigest(77)})
			if err != nil || holders[testDigest(77)].Name != "customer-77" {
				t.Errorf("the holders are %v, %v", holders, err)
			}
			return nil
		})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFile(oldFile(t, map[string]string{}, nil), testBounds); err != nil {
		t.Errorf("a file without clients and keys: %v", err)
	}
}

func TestFileOfAnOlderVersionThatIsDamaged(t *testing.T) {
	digest := testDigest(1)
	key := fmt.Sprintf(`{"api_key_sha256":%q,"capacity":7,"rate_per_second":1}`, base64.StdEncoding.EncodeToString(digest[:]))
	entry := map[string]string{string(digest[:]): "nacme"}
	for _, c := range []struct {
		records, keys map[string]string
		text          string
	}{
		{map[string]string{"nacme": `{"capacity":7}`}, nil, "client acme: its api_key_sha256 has 0 bytes and not 32"},
		{map[string]string{"nacme": `{"api_key_sha256":"AAAA"}`}, nil, "has 3 bytes and not 32"},
		{map[string]string{string(orderKey(idOf("10.0.0.1"))): `{"api_key_sha256":"AAAA"}`}, nil, "client 10.0.0.1: its api_key_sha256 has 3 bytes and not 0"},
		{map[string]string{"nacme": `{"capacity":`}, nil, "decode the client acme"},
		{map[string]string{"n1::2": `{}`}, nil, "the key 6e313a3a32 is of no client"},
		{map[string]string{"nacme": key}, nil, "do not agree"},
		{map[string]string{}, entry, "do not agree"},
		{map[string]string{"nacme": key, "nother": key}, entry, "two clients have the API key"},
	} {
		path := oldFile(t, c.records, c.keys)
		if _, err := OpenFile(path, testBounds); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v: %v, want %q", c.records, err, c.text)
		}
	}
}

// TestFileOfANewerVersion is not taken for a damaged one.
func TestFileOfANewerVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	if err := openTestFile(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(metaBucket)).Put([]byte(stateKey), []byte{fileFormat + 1, 'x'})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(path, testBounds)
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "newer version (format 2)") {
		t.Errorf("it returned %v", err)
	}
}
