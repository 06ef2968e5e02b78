package acme

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
)

// Postgres is the storage that is the clients' database.
const Postgres = "postgres"

// Config is the part server.tls.acme of the config file.
type Config struct {
	// Domains get one certificate each. To set them is to agree to the terms of the authority. None:
	// no authority is asked.
	Domains []string `yaml:"domains"`
	// Email is what the authority writes to. "": the account has none.
	Email string `yaml:"email"`
	// Directory is the authority's URL. "": Let's Encrypt.
	Directory string `yaml:"directory"`
	// Storage is a folder, relative to the working directory, for certificates, their keys and the
	// account's; or Postgres.
	Storage string `yaml:"storage"`
}

// DefaultConfig has no domains, and keeps what it gets in the folder acme.
func DefaultConfig() Config { return Config{Storage: "acme"} }

// InPostgres reports whether the storage is the clients' database.
func (c Config) InPostgres() bool { return c.Storage == Postgres }

// Enabled reports whether there is a domain to get a certificate for.
func (c Config) Enabled() bool { return len(c.Domains) > 0 }

// directory is the URL to ask.
func (c Config) directory() string {
	if c.Directory == "" {
		return certmagic.LetsEncryptProductionCA
	}
	return c.Directory
}

// Validate calls wrong once for each fault, with its path below server.tls.acme.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	for i, domain := range c.Domains {
		if allowed := domainFault(domain, c.Domains[:i]); allowed != "" {
			wrong(fmt.Sprintf("domains[%d]", i), domain, allowed)
		}
	}
	if address, err := mail.ParseAddress(c.Email); c.Email != "" && (err != nil || address.Address != c.Email) {
		wrong("email", c.Email, `one address, such as admin@example.com, or "" for none`)
	}
	if c.Directory != "" && !isDirectory(c.Directory) {
		wrong("directory", c.Directory, `the https:// URL of an ACME directory, http:// on this machine alone, or "" for Let's Encrypt`)
	}
	if c.Storage == "" || strings.ContainsAny(c.Storage, "\r\n\x00") {
		wrong("storage", c.Storage, "a folder, or postgres for the clients' database")
	}
}

// domainFault returns what is allowed in the place of a domain, or "" for one that is.
func domainFault(domain string, before []string) string {
	switch {
	case strings.HasPrefix(domain, "*."):
		return "a name without *: certificates for wildcards need a DNS challenge, which is not there"
	case net.ParseIP(domain) != nil:
		return "a name, not an address"
	case !isHostName(domain):
		return "the name of a host, such as www.example.com, in its ASCII form (xn--…)"
	case slices.ContainsFunc(before, func(other string) bool { return strings.EqualFold(other, domain) }):
		return "each domain once"
	}
	return ""
}

// isHostName reports whether the text is a name of letters, digits and hyphens, without a dot at its
// end.
func isHostName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(strings.ToLower(label)) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

func isDirectory(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
