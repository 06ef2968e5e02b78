package clients

import (
	"regexp"
	"strings"
	"time"
)

const (
	filePrefix = "file:"

	minConnectTimeout = 100 * time.Millisecond
	maxConnectTimeout = time.Hour
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
}

// DefaultConfig returns a configuration with the embedded store in clients.db and a timeout of 30
// seconds.
func DefaultConfig() Config {
	return Config{Store: "file:clients.db", ConnectTimeout: 30 * time.Second}
}

// Validate calls wrong once for each invalid field. The path is relative to the clients section.
// The value of an invalid store is redacted where it could contain a password.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	const allowedStore = "file:PATH, postgres://user:password@host:5432/database, or memory"
	switch {
	case strings.ContainsAny(c.Store, "\r\n"):
		wrong("store", redactLines(c.Store), "one line; a value that was read from a file often ends with a line break")
	case c.Store == memoryStore:
	case isPostgres(c.Store):
		if _, err := parsePostgresURL(c.Store); err != nil {
			wrong("store", redactStore(c.Store), err.Error())
		}
	case strings.TrimPrefix(c.Store, filePrefix) == "", !strings.HasPrefix(c.Store, filePrefix), isURLInFile(c.Store):
		wrong("store", redactStore(c.Store), allowedStore)
	}
	if c.ConnectTimeout < minConnectTimeout || c.ConnectTimeout > maxConnectTimeout {
		wrong("connect_timeout", c.ConnectTimeout, "a duration from 100ms to 1h")
	}
}

// redactLines is redactStore for a store with line breaks, which it escapes. Any of the lines could
// contain a password.
func redactLines(store string) string {
	if !strings.HasPrefix(store, filePrefix) && !isPostgres(store) {
		return notShown
	}
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(redactStore(store))
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
