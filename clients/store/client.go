package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"loadbalancer/limiter"
)

// Client is a registered client as it is kept. A Client never changes once it is stored: a store
// and its readers may share the slices and maps in it.
type Client struct {
	ID        limiter.ID        // canonical, as ParseID returns it
	Keys      []Key             // 1 to limiter.MaxKeys of a client with a name, none of others; oldest first
	Plan      string            // name of the Plan whose terms it has; "": none
	Own       limiter.Terms     // terms of its own; a zero field is the plan's
	Labels    map[string]string // nil without any
	ExpiresAt time.Time         // when it falls back to the default; zero: never
	CreatedAt time.Time         // UTC, whole microseconds, as all times of a store
	UpdatedAt time.Time
	Version   int64 // of the store, at the last change of the client; given by the store
}

// Key is an API key of a client. The key itself is not kept.
type Key struct {
	ID        string // unique within the client
	Digest    limiter.KeyDigest
	CreatedAt time.Time
	ExpiresAt time.Time // when it stops to be the client's; zero: never
}

// Plan is a set of terms that clients share by its name.
type Plan struct {
	Name      string
	Terms     limiter.Terms // pass Terms.Check
	CreatedAt time.Time
	UpdatedAt time.Time
	Version   int64 // as Client.Version
}

// Bounds of a client.
const (
	MaxName   = 128 // bytes
	MaxLabels = 16
	MaxLabel  = 63 // bytes of a name and of a value
)

// Expired reports whether the client has fallen back to the default.
func (c *Client) Expired(now time.Time) bool { return passed(c.ExpiresAt, now) }

// SortKeys puts keys in the order of Client.Keys, the oldest first.
func SortKeys(keys []Key) {
	if len(keys) < 2 { // most clients have one
		return
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// Expired reports whether the key has stopped to be the client's.
func (k *Key) Expired(now time.Time) bool { return passed(k.ExpiresAt, now) }

func passed(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// Terms returns the terms in force: the client's own and, for those that are zero, the plan's. The
// plan is nil for a client without one.
func (c *Client) Terms(p *Plan) limiter.Terms {
	t := c.Own
	if p != nil {
		t.Capacity = cmp.Or(t.Capacity, p.Terms.Capacity)
		t.RatePerSecond = cmp.Or(t.RatePerSecond, p.Terms.RatePerSecond)
		t.MaxInFlight = cmp.Or(t.MaxInFlight, p.Terms.MaxInFlight)
	}
	if t.Blocked { // a client that is only blocked has no limit: no request meets it
		t.Capacity, t.RatePerSecond = cmp.Or(t.Capacity, 1), cmp.Or(t.RatePerSecond, 1)
	}
	return t
}

// Enforced returns the terms as the limiter gets them. A block holds also where the other terms are
// wrong, as a plan that was changed by hand can make them.
func (c *Client) Enforced(p *Plan) limiter.Terms {
	t := c.Terms(p)
	if _, _, ok := t.Check(); !ok && t.Blocked {
		return limiter.Terms{Limit: limiter.Limit{Capacity: 1, RatePerSecond: 1}, Blocked: true}
	}
	return t
}

// Equal reports whether the clients are the same in every field.
func (c *Client) Equal(d *Client) bool {
	return c.ID == d.ID && c.Plan == d.Plan && c.Own == d.Own && c.Version == d.Version &&
		c.ExpiresAt.Equal(d.ExpiresAt) && c.CreatedAt.Equal(d.CreatedAt) && c.UpdatedAt.Equal(d.UpdatedAt) &&
		maps.Equal(c.Labels, d.Labels) && slices.EqualFunc(c.Keys, d.Keys, Key.equal)
}

func (k Key) equal(l Key) bool {
	return k.ID == l.ID && k.Digest == l.Digest && k.CreatedAt.Equal(l.CreatedAt) && k.ExpiresAt.Equal(l.ExpiresAt)
}

// Check returns an error unless the client can be enforced, with or without its plan, which is nil
// if it has none: what was written by hand need not be.
func (c *Client) Check(p *Plan) error {
	if err := c.checkIdentity(); err != nil {
		return err
	}
	if c.Plan != "" && p == nil {
		return fmt.Errorf("plan %q: there is no such plan", c.Plan)
	}
	return CheckTerms(c.Enforced(p))
}

// checkAlone is Check without what depends on a plan: that may change, and the client with it.
func (c *Client) checkAlone() error {
	if c.Plan != "" {
		return c.checkIdentity()
	}
	return c.Check(nil)
}

func (c *Client) checkIdentity() error {
	switch id := c.ID; {
	case id.Name != "" && !IsName(id.Name):
		return fmt.Errorf("name %q: a name has %s", id.Name, AllowedName)
	case id.Name == "" && (!id.Prefix.IsValid() || id.Prefix != Canonical(id.Prefix)):
		return fmt.Errorf("ip_address %s: it is stored as %s", id.Prefix, Canonical(id.Prefix))
	case id.Name == "" && len(c.Keys) > 0:
		return errors.New("an API key without a name")
	case len(c.Keys) > limiter.MaxKeys:
		return fmt.Errorf("%d API keys: a client has at most %d", len(c.Keys), limiter.MaxKeys)
	}
	return nil
}

// CheckTerms returns an error unless the terms pass Terms.Check.
func CheckTerms(t limiter.Terms) error {
	if field, allowed, ok := t.Check(); !ok {
		return fmt.Errorf("%s is invalid: use %s", field, allowed)
	}
	return nil
}

// AllowedName describes the names of clients and plans.
var AllowedName = fmt.Sprintf("1 to %d letters, digits and characters of ._@+-, and is neither '.' nor '..' nor like an address", MaxName)

// IsName reports whether the text is a valid name of a client or a plan. A name never reads as an
// address.
func IsName(text string) bool {
	if len(text) == 0 || len(text) > MaxName || text == "." || text == ".." || likeIPv4(text) {
		return false
	}
	for i := range len(text) {
		switch b := text[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case strings.IndexByte("._@+-", b) >= 0:
		default:
			return false
		}
	}
	return true
}

// likeIPv4 reports whether the text is four groups of digits. Not all of them are addresses, but
// 010.1.1.1 is one to some programs. No address of IPv6 is a name, since it has a colon.
func likeIPv4(text string) bool {
	groups := strings.Split(text, ".")
	return len(groups) == 4 && !slices.ContainsFunc(groups, func(group string) bool {
		return group == "" || strings.Trim(group, "0123456789") != ""
	})
}

// mappedBits is the length of ::ffff:0:0/96, which holds IPv4 (RFC 4291, section 2.5.5.2).
const mappedBits = 96

// Canonical returns the range under which a client is stored: masked, and IPv4 if it is IPv4 mapped
// to IPv6.
func Canonical(prefix netip.Prefix) netip.Prefix { return Unmap(prefix).Masked() }

// Unmap returns the range as IPv4 if it is IPv4 mapped to IPv6, else as it is.
func Unmap(prefix netip.Prefix) netip.Prefix {
	if prefix.Addr().Is4In6() && prefix.Bits() >= mappedBits {
		return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix
}
