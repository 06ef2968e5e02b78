package store

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// connectionParameters are the parameters that pgx handles itself. It passes all others to
// PostgreSQL, which has about 400.
var connectionParameters = []string{
	"channel_binding", "connect_timeout", "database", "dbname", "default_query_exec_mode", "description_cache_capacity",
	"host", "krbspn", "krbsrvname", "max_protocol_version", "min_protocol_version", "passfile", "pool_health_check_period",
	"pool_max_conn_idle_time", "pool_max_conn_lifetime", "pool_max_conn_lifetime_jitter", "pool_max_conns",
	"pool_min_conns", "pool_min_idle_conns", "pool_ping_timeout", "port", "require_auth", "service", "servicefile", "ssl",
	"sslcert", "sslcertmode", "sslkey", "sslmode", "sslnegotiation", "sslrootcert", "sslsni",
	"statement_cache_capacity", "target_session_attrs",
}

// freeParameters may have any text as their value.
var freeParameters = []string{"application_name", "options", "password", "sslpassword", "user"}

// sessionParameters are parameters of PostgreSQL that are often set in a URL.
var sessionParameters = []string{
	"TimeZone", "client_encoding", "datestyle", "idle_in_transaction_session_timeout", "idle_session_timeout",
	"lock_timeout", "role", "search_path", "statement_timeout", "timezone", "work_mem",
}

// isLikeConnectionParameter reports whether the name resembles a connection parameter. Of the
// parameters of PostgreSQL that a connection can set, only password_encryption does.
func isLikeConnectionParameter(name string) bool {
	if name == "password_encryption" {
		return false
	}
	name = strings.ToLower(name)
	for _, prefix := range []string{
		"channel", "connect", "database", "dbname", "fallback_application", "gss", "host", "keepalives", "krb", "load_balance",
		"pass", "pool_", "port", "require", "service", "ssl", "target", "user",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// allowedValues are the values of parameters that have only a few.
var allowedValues = map[string][]string{
	"sslmode":              {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
	"sslcertmode":          {"disable", "allow", "require"},
	"target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
	"channel_binding":      {"disable", "prefer", "require"},
}

// check returns an error where that of pgx is less clear. It never shows the value of a password.
func (p urlParameter) check() error {
	value, err := url.PathUnescape(p.value)
	if err != nil || value == "" {
		return nil
	}
	if allowed := allowedValues[p.name]; len(allowed) > 0 && !slices.Contains(allowed, value) {
		return fmt.Errorf("a PostgreSQL URL whose %s is one of %s; it is %.100q", p.name, strings.Join(allowed, ", "), value)
	}
	switch p.name {
	case "port":
		for port := range strings.SplitSeq(value, ",") {
			if port != "" && !isPort(port) {
				return fmt.Errorf("%w; port is %.100q", errPort, value)
			}
		}
	case "sslrootcert", "sslcert", "sslkey":
		return p.checkFile(value)
	}
	return nil
}

// checkFile returns an error if the file of a certificate or key cannot be read.
func (p urlParameter) checkFile(path string) error {
	if p.name == "sslrootcert" && path == "system" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("a PostgreSQL URL whose %s can be read: %w", p.name, err)
	}
	if p.name == "sslrootcert" && !x509.NewCertPool().AppendCertsFromPEM(text) {
		return fmt.Errorf("a PostgreSQL URL whose sslrootcert holds certificates in PEM; %s holds none", path)
	}
	return nil
}
