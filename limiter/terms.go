package limiter

import (
	"fmt"
	"net/netip"
)

// MaxInFlight bounds Terms.MaxInFlight: more requests at once than that no machine has.
const MaxInFlight = 1_000_000_000

// Terms are what a registered client may do.
type Terms struct {
	Limit
	MaxInFlight int64 // requests under way at once, up to 1,000,000,000; 0 means no bound
	Shadow      bool  // what would be rejected passes, and is counted
	Trial       Limit // of a second bucket, which rejects nothing and only counts; the zero Limit: none
}

// Check reports whether the terms can be enforced. If not, field is the name of the faulty key, as in
// "capacity" or "trial.capacity", and allowed says in words which values it may have.
func (t Terms) Check() (field, allowed string, ok bool) {
	if field, allowed, ok := t.Limit.Check(); !ok {
		return field, allowed, false
	}
	if t.MaxInFlight < 0 || t.MaxInFlight > MaxInFlight {
		return "max_in_flight", fmt.Sprintf("a whole number from 0 to %d, where 0 means no bound", MaxInFlight), false
	}
	if t.Trial != (Limit{}) {
		if field, allowed, ok := t.Trial.Check(); !ok {
			return "trial." + field, allowed, false
		}
	}
	return "", "", true
}

// ID is who a registered client is: an address, which is a range of its full length, or a range,
// or a name, which stands for whoever has the API key. Exactly one of the two is set. IDs that
// mean the same client are equal once the prefix is masked and IPv4 is not mapped to IPv6.
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

// Registration is a client as it is registered.
type Registration struct {
	ID    ID
	Key   KeyDigest // of the API key, if the client has a name
	Terms Terms     // which have passed Check
}
