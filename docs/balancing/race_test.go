//go:build race

package main

// raceDetector reports whether the tests run under the race detector, where the simulation, which
// has one goroutine, takes minutes.
const raceDetector = true
