package clients

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"loadbalancer/clients/store"
)

const (
	filePrefix = "file:"

	minConnectTimeout = 100 * time.Millisecond
	maxConnectTimeout = time.Hour

	minAuditAge   = time.Hour
	maxAuditAge   = 10 * 365 * 24 * time.Hour
	maxAuditCount = 10_000_000
)

// Config is the clients section of the config file.
type Config struct {
	// Store says where the clients are stored: "file:PATH" for the embedded store, with PATH
	// relative to the working directory; a PostgreSQL URL,
	// "postgres://user:password@host:5432/database"; or "memory".
	Store string `yaml:"store"`
	// ConnectTimeout is how long Open keeps trying to reach PostgreSQL, from 100ms to 1h. The other
	// stores ignore it.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// Snapshot is the file that the last state of PostgreSQL is kept in, for a start without it,
	// relative to the working directory. "" means none. The other stores ignore it.
	Snapshot string `yaml:"snapshot"`
	Audit    Audit  `yaml:"audit"`
}

// Audit bounds the entries of the audit: those that are older, or that more recent ones
// outnumber, are deleted.
type Audit struct {
	MaxAge   time.Duration `yaml:"max_age"`   // from 1h to 87600h
	MaxCount int           `yaml:"max_count"` // up to 10,000,000; 0 means that none is kept
}

// DefaultConfig returns a configuration with the embedded store in clients.db, a timeout of 30
// seconds, a snapshot in clients.snapshot, and an audit of 30 days and 100,000 records.
func DefaultConfig() Config {
	return Config{
		Store:          "file:clients.db",
		ConnectTimeout: 30 * time.Second,
		Snapshot:       "clients.snapshot",
		Audit:          Audit{MaxAge: 30 * 24 * time.Hour, MaxCount: 100_000},
	}
}

// IsShared reports whether several processes can have the store open at a time.
func (c Config) IsShared() bool { return !strings.HasPrefix(c.Store, filePrefix) }

// Validate calls wrong once for each invalid field. The path is relative to the clients section.
// The value of an invalid store is redacted where it could contain a password.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	const allowedStore = "file:PATH, postgres://user:password@host:5432/database, or memory"
	switch {
	case strings.ContainsAny(c.Store, "\r\n"):
		wrong("store", redactLines(c.Store), "one line; a value that was read from a file often ends with a line break")
	case c.Store == memoryStore:
	case store.IsPostgres(c.Store):
		if _, err := store.ParsePostgresURL(c.Store); err != nil {
			wrong("store", redactStore(c.Store), err.Error())
		}
	case strings.TrimPrefix(c.Store, filePrefix) == "", !strings.HasPrefix(c.Store, filePrefix), isURLInFile(c.Store):
		wrong("store", redactStore(c.Store), allowedStore)
	}
	if c.ConnectTimeout < minConnectTimeout || c.ConnectTimeout > maxConnectTimeout {
		wrong("connect_timeout", c.ConnectTimeout, "a duration from 100ms to 1h")
	}
	if strings.ContainsAny(c.Snapshot, "\r\n\x00") || strings.HasSuffix(c.Snapshot, "/") {
		wrong("snapshot", strconv.Quote(c.Snapshot), `the path of a file, or "" for none`)
	}
	c.Audit.validate(wrong)
}

func (a Audit) validate(wrong func(path string, value any, allowed string)) {
	if a.MaxAge < minAuditAge || a.MaxAge > maxAuditAge {
		wrong("audit.max_age", a.MaxAge, "a duration from 1h to 87600h")
	}
	if a.MaxCount < 0 || a.MaxCount > maxAuditCount {
		wrong("audit.max_count", a.MaxCount, "a whole number from 0 to 10000000; 0 keeps none")
	}
}

// redactLines is redactStore for a text with line breaks, which it escapes. Any of the lines could
// contain a password.
func redactLines(text string) string {
	if !strings.HasPrefix(text, filePrefix) && !store.IsPostgres(text) {
		return notShown
	}
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(redactStore(text))
}

const notShown = "(not shown: it may hold a password)"

// isURLInFile reports whether the path of a file store is a URL, which may contain a password.
func isURLInFile(store string) bool {
	path, isFile := strings.CutPrefix(store, filePrefix)
	return isFile && strings.Contains(path, "://")
}

// redactStore returns the part of a store that cannot contain a password.
func redactStore(store string) string {
	if isURLInFile(store) {
		return filePrefix + redactStore(strings.TrimPrefix(store, filePrefix))
	}
	if strings.HasPrefix(store, filePrefix) {
		return store
	}
	if scheme := urlScheme.FindString(store); scheme != "" {
		return scheme + "…"
	}
	if strings.ContainsAny(store, "=@:") {
		return notShown
	}
	return store
}

var urlScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
