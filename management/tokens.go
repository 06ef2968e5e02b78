package management

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"
	"gopkg.in/yaml.v3"
)

// TokenConfig is one entry of management.tokens: what the bearer of a token may do.
type TokenConfig struct {
	Name   string       `yaml:"name"` // in log lines and the audit
	Role   tokenRole    `yaml:"role"`
	Token  *plainToken  `yaml:"token"`  // this or SHA256
	SHA256 *tokenDigest `yaml:"sha256"` // of the token's bytes
}

// TokenConfigs are the entries of management.tokens.
type TokenConfigs []TokenConfig

// tokenRole is what a token may be used for. The zero value is no role.
type tokenRole uint8

const (
	roleRead  tokenRole = iota + 1 // GET, HEAD and explainPath
	roleWrite                      // every call
)

const allowedRoles = "read (GET and HEAD) or write (every call)"

// UnmarshalYAML reads a role by its name.
func (r *tokenRole) UnmarshalYAML(n *yaml.Node) error {
	switch n.Value {
	case "read":
		*r = roleRead
	case "write":
		*r = roleWrite
	default:
		return errors.New(allowedRoles)
	}
	return nil
}

// String returns the name of a role, or "" of none.
func (r tokenRole) String() string {
	switch r {
	case roleRead:
		return "read"
	case roleWrite:
		return "write"
	}
	return ""
}

// plainToken is a token as it is sent: visible ASCII characters, or "" for none.
type plainToken string

// The bounds of a plain token, in bytes. A longer one would not fit into the header of a request; a
// shorter one is warned of.
const (
	maxToken  = 4096
	fairToken = 16
)

// UnmarshalYAML reads a token and refuses one that no header field can carry.
func (t *plainToken) UnmarshalYAML(n *yaml.Node) error {
	var text string
	if n.Decode(&text) != nil { // the error may show the value
		return errors.New("a text")
	}
	switch {
	case strings.TrimSpace(text) != text:
		return errors.New("a token without white space around it; a value that was read from a file often ends with a line break")
	case strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }):
		return errors.New("a token of visible ASCII characters without spaces, which is what a header field can carry")
	case len(text) > maxToken:
		return fmt.Errorf("a token of at most %d characters", maxToken)
	}
	*t = plainToken(text)
	return nil
}

// tokenDigest is the SHA-256 of a token.
type tokenDigest [sha256.Size]byte

// UnmarshalYAML reads a digest in hexadecimal.
func (d *tokenDigest) UnmarshalYAML(n *yaml.Node) error {
	digest, err := hex.DecodeString(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || len(digest) != len(d) {
		return errors.New("the SHA-256 of a token as 64 hexadecimal digits, without white space around them")
	}
	copy(d[:], digest)
	return nil
}

// notShown stands in messages in place of a secret.
const notShown = "(not shown)"

// String keeps the token out of whatever is printed.
func (t plainToken) String() string {
	if t == "" {
		return ""
	}
	return notShown
}

// String keeps the digest out of whatever is printed.
func (tokenDigest) String() string { return notShown }

// Secret marks types whose values no message about the config shows.
func (plainToken) Secret() {}

// Secret is that of plainToken.
func (tokenDigest) Secret() {}

// Secret is that of plainToken.
func (TokenConfig) Secret() {} // a token in the place of its section
// Secret is that of plainToken.
func (TokenConfigs) Secret() {} // a token in the place of the list

// validate calls wrong once for each fault, with its path below management.
func (all TokenConfigs) validate(wrong func(path string, value any, allowed string)) {
	seen := map[string]int{}
	for i, t := range all {
		at := fmt.Sprintf("tokens[%d].", i)
		if first, twice := seen[t.Name]; strings.TrimSpace(t.Name) == "" {
			wrong(at+"name", t.Name, "a name, which log lines tell the token by")
		} else if twice {
			wrong(at+"name", t.Name, fmt.Sprintf("each name once; tokens[%d] has the same", first))
		} else {
			seen[t.Name] = i
		}
		if t.Role == 0 {
			wrong(at+"role", "", allowedRoles)
		}
		switch {
		case t.Token != nil && t.SHA256 != nil:
			wrong(at+"sha256", notShown, "either token or sha256, not both")
		case t.Token == nil && t.SHA256 == nil:
			wrong(at+"token", "", "a token, or its sha256")
		case t.Token != nil && *t.Token == "":
			wrong(at+"token", "", "a token that is not empty, or its sha256")
		}
	}
}

// warnOfShortTokens logs a line for each plain token that could be guessed.
func (c Config) warnOfShortTokens(log zerolog.Logger) {
	warn := func(name string, t plainToken) {
		if t != "" && len(t) < fairToken {
			log.Warn().Str("token", name).Msgf("this token of the API has fewer than %d characters and could be guessed", fairToken)
		}
	}
	warn("management.token", c.Token)
	for _, t := range c.Tokens {
		if t.Token != nil {
			warn(t.Name, *t.Token)
		}
	}
}

// credential is a token that the API takes, as its SHA-256.
type credential struct {
	name   string // in log lines and the audit
	digest tokenDigest
	role   tokenRole
}

// singleToken is the name of management.token, which has none in the config.
const singleToken = "token"

// credentials lists the tokens of the config.
func (c Config) credentials() (all []credential) {
	if c.Token != "" {
		all = append(all, credential{singleToken, sha256.Sum256([]byte(c.Token)), roleWrite})
	}
	for _, t := range c.Tokens {
		if t.SHA256 != nil {
			all = append(all, credential{t.Name, *t.SHA256, t.Role})
		} else {
			all = append(all, credential{t.Name, sha256.Sum256([]byte(*t.Token)), t.Role})
		}
	}
	return all
}

// find returns the credential of a token, that of the highest role where it is configured more than
// once, or one with role 0 for a token that is not configured. How long it takes tells nothing of a
// token that is not configured but its length.
func find(token []byte, all []credential) (found credential) {
	digest := sha256.Sum256(token)
	for _, c := range all {
		if subtle.ConstantTimeCompare(digest[:], c.digest[:]) == 1 && c.role > found.role {
			found = c
		}
	}
	return found
}
