package upstream

import (
	"errors"
	"strings"

	"loadbalancer/proxy/balance"
)

// HashKey is the part of a request that the policy hash goes by. The zero value means that none was
// given.
type HashKey struct {
	From HashSource
	Name string // of the field, in lower case, or of the cookie
}

// HashSource is the kind of a HashKey.
type HashSource uint8

// The sources.
const (
	HashNothing HashSource = iota
	HashHeader             // the value of the first field with the name
	HashCookie             // the value of the first cookie with the name
	HashPath               // the target without its query
)

const allowedHashKey = "header:NAME, cookie:NAME or path"

// UnmarshalText parses header:NAME, cookie:NAME or path. Its error says what is allowed.
func (k *HashKey) UnmarshalText(text []byte) error {
	from, name, named := strings.Cut(string(text), ":")
	switch {
	case len(text) == 0:
		*k = HashKey{}
	case from == "header" && isToken(name):
		*k = HashKey{HashHeader, strings.ToLower(name)}
	case from == "cookie" && isToken(name):
		*k = HashKey{HashCookie, name}
	case from == "path" && !named:
		*k = HashKey{From: HashPath}
	default:
		return errors.New(allowedHashKey)
	}
	return nil
}

// String returns the key as the config has it.
func (k HashKey) String() string {
	switch k.From {
	case HashHeader:
		return "header:" + k.Name
	case HashCookie:
		return "cookie:" + k.Name
	case HashPath:
		return "path"
	}
	return ""
}

// validate calls wrong for a key that is missing, or that the policy does not go by.
func (k HashKey) validate(p balance.Policy, wrong func(path string, value any, allowed string)) {
	switch {
	case p == balance.Hash && k.From == HashNothing:
		wrong("hash", "", allowedHashKey+", which balance: hash goes by")
	case p != balance.Hash && k.From != HashNothing:
		wrong("hash", k, "it with balance: hash alone, or remove it")
	}
}

// isToken reports whether a text is a token (RFC 9110, section 5.6.2), as names of fields and of
// cookies are, of at most 64 bytes.
func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"+others) == ""
}
