package store

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Errors about the URL are logged, so they must not contain any part of a password. The errors of
// pgx quote what it could not parse, which is part of the password if that has a special character.
// So the URL is split here first, and refused if it is ambiguous. In any other URL the passwords
// are known, and pgx parses a copy with different ones to get a safe error.

// postgresURL is a PostgreSQL URL, split as pgx splits it. Its parts are not decoded.
type postgresURL struct {
	scheme     string
	user       string
	password   string // "" if there is none
	hosts      string // with ports, separated by commas
	database   string // with the leading slash
	parameters []urlParameter
}

type urlParameter struct {
	name  string // decoded
	value string // not decoded
}

var (
	errPostgresURL = errors.New("a PostgreSQL URL, postgres://user:password@host:5432/database, " +
		"with special characters in the password percent-encoded (/ is %2F, # is %23, @ is %40)")
	errQuery = errors.New("a PostgreSQL URL with parameters of the form name=value behind ?, in which special characters " +
		"are percent-encoded (& is %26, = is %3D)")
	errBehindPassword = errors.New("a PostgreSQL URL in which only well-known parameters stand behind password= and sslpassword=; " +
		"& in a password is %26")
	errUser = errors.New("a PostgreSQL URL, postgres://user:password@host:5432/database, whose user has no colon; " +
		"the one before the password is not percent-encoded")
	errPort = errors.New("a PostgreSQL URL, postgres://user:password@host:5432/database, whose ports are numbers from 1 to 65535")
)

// IsPostgres reports whether the store is a PostgreSQL URL.
func IsPostgres(store string) bool {
	return strings.HasPrefix(store, "postgres://") || strings.HasPrefix(store, "postgresql://")
}

// ParsePostgresURL parses the URL. Its error completes the sentence "allowed is".
func ParsePostgresURL(store string) (*pgxpool.Config, error) {
	u, err := splitPostgresURL(store)
	if err != nil {
		return nil, err
	}
	if err := u.check(); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(store)
	if err != nil {
		return nil, u.explain()
	}
	return config, nil
}

// splitPostgresURL returns errPostgresURL if an unencoded character of a password could have ended
// a part of the URL too early: a second @, or an @ where none belongs.
func splitPostgresURL(store string) (u postgresURL, err error) {
	scheme, rest, _ := strings.Cut(store, "://")
	u.scheme = scheme
	authority, behind := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, behind = rest[:end], rest[end:]
	}
	if user, hosts, found := strings.Cut(authority, "@"); found {
		u.user, u.password, _ = strings.Cut(user, ":")
		authority = hosts
	}
	u.hosts = authority
	path, query, _ := strings.Cut(behind, "?")
	u.database = path
	if strings.Contains(u.hosts+path, "@") || strings.HasPrefix(path, "#") {
		return postgresURL{}, errPostgresURL
	}
	// The first @ before the first slash ends the user and the password. To pgx it does even after
	// a question mark.
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' && i > len(rest)-len(behind) {
		return postgresURL{}, errPostgresURL
	}
	u.parameters, err = splitQuery(query)
	return u, err
}

// splitQuery splits the parameters. Like splitPostgresURL it refuses an @ where none belongs.
func splitQuery(query string) (all []urlParameter, err error) {
	if query == "" {
		return nil, nil
	}
	for pair := range strings.SplitSeq(strings.TrimSuffix(query, "&"), "&") {
		raw, value, found := strings.Cut(pair, "=")
		name, err := url.PathUnescape(strings.Trim(raw, " "))
		if strings.Contains(value, "@") && (err != nil || !slices.Contains(freeParameters, name)) {
			return nil, errPostgresURL
		}
		if !found || err != nil || strings.Contains(value, "=") {
			return nil, errQuery
		}
		all = append(all, urlParameter{name, value})
	}
	return all, nil
}

func (p urlParameter) isKnown() bool {
	return slices.Contains(connectionParameters, p.name) || slices.Contains(freeParameters, p.name)
}

func (p urlParameter) isSecret() bool { return p.name == "password" || p.name == "sslpassword" }

// check returns an error that describes an invalid part without any text that could belong to a
// password.
func (u *postgresURL) check() error {
	for _, part := range []struct{ what, text string }{
		{"password", u.password}, {"user", u.user}, {"host", u.hosts}, {"database", u.database},
	} {
		if !isEncoded(part.text) {
			return fmt.Errorf("%w; the %s is not", errPostgresURL, part.what)
		}
	}
	// Text behind a colon in the user may be the password, and pgx would quote it as the user.
	if hasColon(u.user) {
		return errUser
	}
	if !portsAreValid(u.hosts) {
		return errPort
	}
	behindPassword := false
	for _, p := range u.parameters {
		switch known := p.isKnown(); {
		case !known && behindPassword && !slices.Contains(sessionParameters, p.name):
			// More likely, the password contains an unencoded &.
			return errBehindPassword
		case !known && isLikeConnectionParameter(p.name):
			return fmt.Errorf("a PostgreSQL URL with parameters that are known; %.100q is not", p.name)
		case !isEncoded(p.value) && !known: // the name may be part of a password
			return errQuery
		case !isEncoded(p.value):
			return fmt.Errorf("%w; the parameter %.100q is not", errQuery, p.name)
		case p.name == "user" && hasColon(p.value):
			return errUser
		}
		behindPassword = behindPassword || p.isSecret()
	}
	return nil
}

// isEncoded reports whether the text can be decoded: a % stands only before two hexadecimal digits
// other than 00, and there are no spaces.
func isEncoded(text string) bool {
	decoded, err := url.PathUnescape(text)
	return err == nil && !strings.Contains(text, " ") && !strings.Contains(decoded, "\x00")
}

func hasColon(encoded string) bool {
	decoded, err := url.PathUnescape(encoded)
	return err == nil && strings.Contains(decoded, ":")
}

// portsAreValid reports whether the ports of the hosts, which are separated by commas, are valid. A
// port may be left out.
func portsAreValid(hosts string) bool {
	for host := range strings.SplitSeq(hosts, ",") {
		if strings.HasPrefix(host, "[") { // an IPv6 address
			host = host[strings.LastIndexByte(host, ']')+1:]
		}
		if strings.HasPrefix(host, "[") { // without ], which pgx reports
			continue
		}
		if _, port, found := strings.Cut(host, ":"); found && port != "" && !isPort(port) {
			return false
		}
	}
	return true
}

func isPort(text string) bool {
	text, err := url.PathUnescape(text)
	port, numberErr := strconv.ParseUint(text, 10, 16)
	return err == nil && numberErr == nil && port > 0
}

// withoutSecrets returns the URL with its passwords replaced.
func (u *postgresURL) withoutSecrets() string {
	const harmless = "password"
	var b strings.Builder
	b.WriteString(u.scheme + "://" + u.user)
	if u.password != "" {
		b.WriteString(":" + harmless)
	}
	if u.user+u.password != "" {
		b.WriteString("@")
	}
	b.WriteString(u.hosts + u.database)
	for i, p := range u.parameters {
		if p.isSecret() && p.value != "" {
			p.value = harmless
		}
		b.WriteString(map[bool]string{true: "?", false: "&"}[i == 0] + url.QueryEscape(p.name) + "=" + p.value)
	}
	return b.String()
}

// explain returns an error that describes why pgx refuses the URL.
func (u *postgresURL) explain() error {
	for _, p := range u.parameters {
		if err := p.check(); err != nil {
			return err
		}
	}
	_, err := pgxpool.ParseConfig(u.withoutSecrets())
	if err == nil {
		return errPostgresURL
	}
	// The text begins with the URL in backquotes.
	_, cause, found := strings.Cut(err.Error(), "`: ")
	if !found {
		return errPostgresURL
	}
	return fmt.Errorf("a PostgreSQL URL that can be used: %s", cause)
}
