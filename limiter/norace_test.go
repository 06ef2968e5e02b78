//go:build !race

package limiter

// raceEnabled says that the race detector is on: it allocates, and it is slow.
const raceEnabled = false
