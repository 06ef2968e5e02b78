package clients

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

func TestIDKeyIsReversible(t *testing.T) {
	ids := []limiter.ID{{Name: "a"}, {Name: "Acme-Corp_2.x"}, {Name: strings.Repeat("n", maxName)}, {Name: "nameOf17Character"}}
	for _, text := range []string{"0.0.0.0/0", "10.0.0.0/8", "255.255.255.255/32", "::/0", "::/128", "2001:db8::/32"} {
		ids = append(ids, addressID(text))
	}
	for _, id := range ids {
		if got, err := keyID(idKey(id)); err != nil || got != id {
			t.Errorf("%s became %s, %v", id, got, err)
		}
	}
	for _, key := range [][]byte{
		nil, {nameKind}, []byte("n1st"), make([]byte, 17), make([]byte, 18), slices.Repeat([]byte{255}, 18),
		slices.Repeat([]byte{ipv4Kind}, 17), slices.Repeat([]byte{ipv4Kind}, 19),
		append(idKey(addressID("10.0.0.1/32"))[:17], 33),
	} {
		if got, err := keyID(key); err == nil {
			t.Errorf("the key %x became %s", key, got)
		}
	}
}

func TestIDKeysSortNamesLast(t *testing.T) {
	ids := []limiter.ID{{}, addressID("0.0.0.0/0"), addressID("255.255.255.255/32"), addressID("::/0"),
		addressID("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"), {Name: "A"}, {Name: "Z"}, {Name: "a"}, {Name: "a-"}, {Name: "a0"}}
	if !slices.IsSortedFunc(ids, func(a, b limiter.ID) int { return cmp.Compare(string(idKey(a)), string(idKey(b))) }) {
		t.Errorf("the keys of %s are not in this order", ids)
	}
}

// TestFileOfAnOlderVersion has what was written before there were names.
func TestFileOfAnOlderVersion(t *testing.T) {
	cfg := fileConfig(t)
	writeFile(t, cfg, "\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01\x20",
		`{"capacity":7,"rate_per_second":0.5,"created_at":"2025-06-01T12:00:00.123456Z","updated_at":"2025-06-01T12:30:00Z"}`)
	a, _ := startAPI(t, cfg)
	a.limited("10.0.0.1", 7)
	const want = `{"ip_address":"10.0.0.1","capacity":7,"rate_per_second":0.5,` +
		`"created_at":"2025-06-01T12:00:00.123456Z","updated_at":"2025-06-01T12:30:00Z"}`
	if got := a.call(http.StatusOK, "GET", "/10.0.0.1", ""); strings.TrimSpace(got.body) != want {
		t.Errorf("got %s, want %s", got.body, want)
	}
	a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1,"max_in_flight":2}`)
	a.limited("10.0.0.1", 8)
	a.createNamed("acme", "the key of acme", 9)
}

func TestFileWithBrokenRecords(t *testing.T) {
	for _, c := range []struct{ key, value, text string }{
		{"nacme", `{"capacity":7,"rate_per_second":1}`, "client acme: its api_key_sha256 has 0 bytes and not 32"},
		{"nacme", `{"api_key_sha256":"AAAA","capacity":7,"rate_per_second":1}`, "has 3 bytes and not 32"},
		{"nacme", `{"api_key_sha256":"` + strings.Repeat("A", 44) + `"}`, "has 33 bytes and not 32"},
		{string(idKey(addressID("10.0.0.1/32"))), `{"api_key_sha256":"AAAA"}`, "client 10.0.0.1: its api_key_sha256 has 3 bytes and not 0"},
		{"nacme", `{"capacity":`, "decode the client acme"},
		{"n1st", `{}`, "the key 6e317374 is of no client"},
	} {
		cfg := fileConfig(t)
		writeFile(t, cfg, c.key, c.value)
		if _, err := Open(t.Context(), cfg, testLimiter(), keysAreRead, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("Open of %s returned %v, want %q", c.value, err, c.text)
		}
	}
}

// writeFile makes a store with one record, and without a bucket of keys, as older versions did.
func writeFile(t *testing.T, cfg Config, key, value string) {
	t.Helper()
	db, err := bbolt.Open(strings.TrimPrefix(cfg.Store, filePrefix), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("clients"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(key), []byte(value))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
