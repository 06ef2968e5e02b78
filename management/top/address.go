package top

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// address is where a management API is.
type address struct {
	base   string // its URL, without a slash at its end
	socket string // the path of the unix socket that it is reached by; "": none
}

// parseAddress reads http://host:port, https://host:port or unix:/path. The error says what is
// allowed, and does not show what may be secret.
func parseAddress(management string) (address, error) {
	if path, ok := strings.CutPrefix(management, "unix:"); ok && path != "" {
		return address{"http://localhost", path}, nil
	}
	base := strings.TrimSuffix(management, "/")
	if why, ok := isURL(base); !ok {
		return address{}, fmt.Errorf("--management=%s is invalid%s: use http://host:port, https://host:port or unix:/path", masked(management), why)
	}
	return address{base: base}, nil
}

// isURL reports whether a text is a URL of an API. why is what follows "is invalid", or "" where
// there is no more to say than what is allowed.
func isURL(base string) (why string, ok bool) {
	u, err := url.Parse(base)
	switch {
	case !strings.Contains(base, ":/") && base != "" && base != "unix:":
		return " without http:// or https://", false
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", false
	case u.User != nil:
		return " with a user or a password (the token is taken from LB_TOKEN)", false
	case u.Path+u.RawQuery+u.Fragment != "":
		return " with more than a host and a port", false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return " with a port that is not between 1 and 65535", false
		}
	}
	return "", true
}

// masked is a URL as it may be shown, without passwords and queries.
func masked(management string) string {
	scheme, rest, ok := strings.Cut(management, "://")
	if !ok {
		scheme, rest = "", management
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "…" + rest[at:]
	}
	if rest, _, ok = strings.Cut(rest, "?"); ok {
		rest += "?…"
	}
	return clean(scheme + rest)
}
