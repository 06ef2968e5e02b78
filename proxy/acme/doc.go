// Package acme gets certificates from an authority that speaks ACME (RFC 8555), renews them, and
// answers the authority's challenges.
//
// certmagic decides when a certificate is due, keeps it, and has one process at a time ask for it.
// The orders are this package's own, over acmez: certmagic's issuer opens listeners for its
// challenges and leaves goroutines behind. What is here answers challenges on listeners that exist.
//
// The package knows nothing of the listeners and of what is spoken on them.
package acme
