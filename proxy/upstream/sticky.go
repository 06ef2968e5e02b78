package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// StickyConfig says how clients are kept at their backends.
type StickyConfig struct {
	Cookie string        `yaml:"cookie"` // its name; "": clients are not kept
	TTL    time.Duration `yaml:"ttl"`    // from the client's last response on; 0: until its session ends
	Secret Secret        `yaml:"secret"` // the same for all instances; "": the caller has to give one
}

// Secret is a text that no message shows. The zero value means that none was given.
type Secret string

// maxSecret bounds a secret, and minSecret keeps it from being guessed, in bytes.
const (
	minSecret = 16
	maxSecret = 4096
)

// UnmarshalYAML reads a secret.
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	var text string
	if n.Decode(&text) != nil || text != "" && (len(text) < minSecret || len(text) > maxSecret) { // the error may show the value
		return fmt.Errorf("a text of %d to %d bytes that is hard to guess", minSecret, maxSecret)
	}
	*s = Secret(text)
	return nil
}

// String keeps the secret out of whatever is printed.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(not shown)"
}

// Secret marks the type as one whose values no message about the config shows.
func (Secret) Secret() {}

// maxTTL is the most that browsers grant (RFC 6265bis, section 5.5).
const maxTTL = 400 * 24 * time.Hour

// validate calls wrong once for each fault, with its path below sticky.
func (c *StickyConfig) validate(wrong func(path string, value any, allowed string)) {
	switch {
	case c.Cookie == "" && *c != StickyConfig{}:
		wrong("cookie", "", "the name of a cookie, which ttl and secret are for")
	case c.Cookie != "" && !isToken(c.Cookie):
		wrong("cookie", c.Cookie, "the name of a cookie, such as lb, of at most 64 letters, digits, - and _")
	}
	if c.TTL != 0 && (c.TTL < time.Second || c.TTL > maxTTL) {
		wrong("ttl", c.TTL, "a time from 1s to 9600h, or 0s for the client's session")
	}
}

// token is the value of the cookie that names a backend: the beginning of an HMAC, in base64.
// Without the secret a client can neither name a backend that it was not sent to, nor learn its
// address.
type token [22]byte

// newToken returns the token of a backend. It is the same in every process that has the secret.
func newToken(secret Secret, u URL) (t token) {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte("sticky " + u.network + " " + u.address)) // never fails
	base64.RawURLEncoding.Encode(t[:], mac.Sum(nil)[:16])
	return t
}

// cookie is what a client gets to be kept at a backend.
type cookie struct {
	token token
	field []byte // a Set-Cookie field without its end
	renew bool   // it has a time to live, which each response begins anew
}

// newCookie returns the cookie of a backend, or nil where clients are not kept.
func (c *StickyConfig) newCookie(u URL) *cookie {
	if c.Cookie == "" {
		return nil
	}
	t := newToken(c.Secret, u)
	field := "Set-Cookie: " + c.Cookie + "=" + string(t[:]) + "; Path=/; HttpOnly; SameSite=Lax"
	if c.TTL > 0 {
		field += "; Max-Age=" + strconv.Itoa(int(c.TTL.Seconds()))
	}
	return &cookie{t, []byte(field), c.TTL > 0}
}
