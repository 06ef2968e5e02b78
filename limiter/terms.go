package limiter

import (
	"fmt"
	"net/netip"
)

// MaxInFlight is the largest value of Terms.MaxInFlight, more than any machine can serve at once.
const MaxInFlight = 1_000_000_000

var allowedInFlight = fmt.Sprintf("a whole number from 0 to %d, where 0 means no bound", MaxInFlight)

// Terms are the limits of a registered client.
type Terms struct {
	Limit
	MaxInFlight int64 // concurrent requests, up to 1,000,000,000; 0 means no bound; with Each, of an address
	Shadow      bool  // requests over a limit are admitted and counted
	Blocked     bool  // all requests are rejected, whatever Shadow is

	// Each gives each IPv4 address or IPv6 network (Config.IPv6Prefix) in a range a bucket of its own,
	// as unregistered clients have, in place of one for the range. These buckets count towards
	// Config.MaxTracked. It has no effect on a name or an address, and excludes Trial.
	Each  bool
	Trial Limit // of a second bucket that only counts; the zero Limit: none
}

// Check reports whether the terms are valid. If they are not, field is the name of the invalid key,
// such as "capacity" or "trial.capacity", and allowed describes the values it may have.
func (t Terms) Check() (field, allowed string, ok bool) {
	if field, allowed, ok := t.Limit.Check(); !ok {
		return field, allowed, false
	}
	if t.MaxInFlight < 0 || t.MaxInFlight > MaxInFlight {
		return "max_in_flight", allowedInFlight, false
	}
	if t.Each && t.Trial != (Limit{}) {
		return "trial", "none, together with each", false
	}
	if t.Trial != (Limit{}) {
		if field, allowed, ok := t.Trial.Check(); !ok {
			return "trial." + field, allowed, false
		}
	}
	return "", "", true
}

// ID identifies a registered client: by an address, which is a prefix of its full length, by a
// range, or by a name, which stands for every caller with one of its API keys. Exactly one of the fields is
// set. IDs of the same client are equal once the prefix is masked and IPv4 is not mapped to IPv6.
type ID struct {
	Prefix netip.Prefix
	Name   string
}

// String returns the address, the range or the name.
func (id ID) String() string {
	switch {
	case id.Name != "":
		return id.Name
	case id.Prefix.IsSingleIP():
		return id.Prefix.Addr().String()
	}
	return id.Prefix.String()
}

// Registration is a registered client with its terms.
type Registration struct {
	ID    ID
	Keys  [MaxKeys]KeyDigest // of the API keys, if ID is a name; zero digests are absent
	Terms Terms              // must have passed Check
}
