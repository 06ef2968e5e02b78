// Package faults holds the tests that drive built balancers through what happens to the Redis of
// their shared limits, and nothing else. Several balancers share a server, clients send more than
// they may, and the server is slowed down, frozen, killed, emptied, replaced or cut off.
//
// The tests know the balancer by its config file, its API, its metrics and its log alone. What it
// has let through is what the backend has seen.
package faults
