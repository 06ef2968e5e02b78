// Package balancers has no code but tests: of built balancers that get their certificates from an
// ACME authority, alone and several on one PostgreSQL.
package balancers
