package listen

import (
	"cmp"
	"crypto/rsa"
	"crypto/tls"
	"slices"
	"strings"
	"time"
)

// keyring is what handshakes choose a certificate from. It is immutable.
type keyring struct {
	byName map[string][]*tls.Certificate // by the names that they are for, wildcards among them
	first  []*tls.Certificate            // for clients that ask for no name, or an unknown one
}

// newKeyring returns a keyring of certificates, in the order of the config.
func newKeyring(all []*tls.Certificate) *keyring {
	k := &keyring{byName: map[string][]*tls.Certificate{}}
	for _, c := range all {
		for _, name := range namesOf(c.Leaf) {
			k.byName[name] = append(k.byName[name], c)
		}
	}
	for _, named := range k.byName {
		slices.SortStableFunc(named, cheapestFirst)
	}
	if len(all) > 0 {
		k.first = all[:1]
		if names := namesOf(all[0].Leaf); len(names) > 0 {
			k.first = k.byName[names[0]]
		}
	}
	return k
}

// cheapestFirst puts keys of RSA last: a signature with one costs several times as much.
func cheapestFirst(a, b *tls.Certificate) int { return cmp.Compare(rank(a), rank(b)) }

func rank(c *tls.Certificate) int {
	if _, ok := c.PrivateKey.(*rsa.PrivateKey); ok {
		return 1
	}
	return 0
}

// find returns the certificates for a name: those that have it, else those with a wildcard for it.
func (k *keyring) find(name string) []*tls.Certificate {
	if named := k.byName[name]; len(named) > 0 {
		return named
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return k.byName["*."+parent]
	}
	return nil
}

// suited returns the first certificate that the client understands or, if there is none, the first
// of all, so that the handshake fails for the right reason.
func suited(all []*tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	nameless := *hello
	nameless.ServerName = "" // whether the name fits is decided
	for _, c := range all {
		if nameless.SupportsCertificate(c) == nil {
			return c
		}
	}
	return all[0]
}

// expiries returns for each name when the first of its certificates expires.
func (k *keyring) expiries() map[string]time.Time {
	all := map[string]time.Time{}
	for name, named := range k.byName {
		all[name] = slices.MinFunc(named, func(a, b *tls.Certificate) int {
			return a.Leaf.NotAfter.Compare(b.Leaf.NotAfter)
		}).Leaf.NotAfter
	}
	return all
}
