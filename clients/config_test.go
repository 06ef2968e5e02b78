package clients

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestConfigValidate(t *testing.T) {
	for _, c := range []struct {
		text  string
		fault string // path and a piece of what is allowed, "" if there is none
	}{
		{"{}", ""},
		{"store: file:/var/lib/clients.db", ""},
		{"store: memory", ""},
		{"store: Memory", "store: file:PATH, postgres://"},
		{`store: "memory:"`, "store: file:PATH, postgres://"},
		{"store: postgres://user:secret@db:5432/clients?sslmode=disable", ""},
		{"store: postgresql:///clients?host=/run/postgresql", ""},
		{"store: postgres://user:s%2Fe%23c%40ret@db1:5432,db2:5432/clients", ""},
		{"connect_timeout: 100ms", ""},
		{"connect_timeout: 1h", ""},
		{`store: ""`, "store: file:PATH, postgres://"},
		{`store: "file:"`, "store: file:PATH, postgres://"},
		{"store: clients.db", "store: file:PATH, postgres://"},
		{"store: mysql://user:secret@db/clients", "store: file:PATH, postgres://"},
		{"store: host=db password=secret", "store: file:PATH, postgres://"},
		{"store: user:secret@db", "store: file:PATH, postgres://"},
		{"store: postgres://user:secret@db:port/clients", "store: a PostgreSQL URL"},
		{"store: postgres://user:sec ret@db/clients", "store: a PostgreSQL URL"},
		{"store: postgres://user:1/secret@db/clients", "store: a PostgreSQL URL"},
		{"store: postgres://user:1#secret@db/clients", "store: a PostgreSQL URL"},
		{"store: postgres://user:1?secret@db/clients", "store: a PostgreSQL URL"},
		{"store: postgres://user:secret@db/clients?sslmode=sometimes", "store: a PostgreSQL URL"},
		{`store: "postgres://user:secret@db/clients\n"`, "store: one line"},
		{`store: "postgres://user:sec\r\nret@db/clients"`, "store: one line"},
		{`store: "secret\npostgres://user:secret@db/clients"`, "store: one line"},
		{`store: "file:clients.db\n"`, "store: one line"},
		{`store: "file:\rclients.db"`, "store: one line"},
		{"store: file:///var/lib/clients.db", ""},
		{"store: file:postgres://user:secret@db/clients", "store: file:PATH, postgres://"},
		{"store: file:user:secret@db://clients", "store: file:PATH, postgres://"},
		{`store: "file:postgres://user:sec\nret@db/clients"`, "store: one line"},
		{`store: "secret\n"`, "store: one line"},
		{"connect_timeout: 0s", "connect_timeout: a duration from"},
		{"connect_timeout: 99ms", "connect_timeout: a duration from"},
		{"connect_timeout: 61m", "connect_timeout: a duration from"},
		{`snapshot: ""`, ""},
		{"snapshot: /var/lib/lb/clients.snapshot", ""},
		{"snapshot: /var/lib/lb/", "snapshot: the path of a file"},
		{`snapshot: "a\nb"`, "snapshot: the path of a file"},
		{"audit: {max_age: 1h, max_count: 0}", ""},
		{"audit: {max_age: 87600h, max_count: 10000000}", ""},
		{"audit: {max_age: 0s}", "audit.max_age: a duration from 1h"},
		{"audit: {max_age: 87601h}", "audit.max_age: a duration from 1h"},
		{"audit: {max_count: -1}", "audit.max_count: a whole number from 0"},
		{"audit: {max_count: 10000001}", "audit.max_count: a whole number from 0"},
	} {
		cfg := DefaultConfig()
		if err := yaml.Unmarshal([]byte(c.text), &cfg); err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		var faults []string
		cfg.Validate(func(path string, value any, allowed string) {
			faults = append(faults, path+": "+allowed)
			if text := fmt.Sprint(value, allowed); strings.Contains(text, "secret") || strings.Contains(text, "ret@") {
				t.Errorf("%s: the password is told: %s", c.text, text)
			}
		})
		got := strings.Join(faults, "; ")
		if len(faults) > 1 || (got == "") != (c.fault == "") || !strings.HasPrefix(got, c.fault) {
			t.Errorf("%s: got %q, want %q", c.text, got, c.fault)
		}
	}
}

func TestDefaultConfig(t *testing.T) {
	if got, want := DefaultConfig(), (Config{
		Store: "file:clients.db", ConnectTimeout: 30 * time.Second, Snapshot: "clients.snapshot",
		Audit: Audit{MaxAge: 720 * time.Hour, MaxCount: 100_000},
	}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
