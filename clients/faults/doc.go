// Package faults holds the tests that drive built balancers through what happens to PostgreSQL, and
// nothing else. Several balancers share a database, traffic flows, and the server is stopped,
// frozen, slowed down, replaced, demoted or put behind PgBouncer.
//
// The tests know the balancer by its config file, its API, its metrics and its log alone.
package faults
