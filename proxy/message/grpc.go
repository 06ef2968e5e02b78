package message

import (
	"bytes"
	"math"
	"time"
)

// GRPC is what a request of HTTP/2 says of itself as a call of gRPC.
type GRPC struct {
	Is      bool          // it is one
	Timeout time.Duration // how long the client waits for it; 0: it does not say
}

// IsOver reports whether the client's time for a call that began then is over.
func (g GRPC) IsOver(began time.Time) bool { return g.Timeout > 0 && time.Since(began) >= g.Timeout }

// grpcOf returns what a request with this type and timeout is as a call of gRPC.
func grpcOf(contentType, timeout []byte) (g GRPC) {
	if bytes.HasPrefix(contentType, grpcType) {
		g.Is = true
		g.Timeout, _ = parseGRPCTimeout(timeout)
	}
	return g
}

var grpcType = []byte("application/grpc")

const grpcStatus = "grpc-status"

// parseGRPCTimeout parses a number of at most 8 digits and a unit.
func parseGRPCTimeout(value []byte) (d time.Duration, ok bool) {
	if len(value) < 2 || len(value) > 9 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[value[len(value)-1]]
	n, isNumber := parseLength(value[:len(value)-1])
	if !ok || !isNumber {
		return 0, false
	}
	if n > int64(longest/unit) {
		return longest, true
	}
	return time.Duration(n) * unit, true
}

// longest is the longest time-out of a call that counts. The clients' own end it in any case.
const longest = 10_000 * time.Hour

// callStatus returns the status of a call of gRPC that a block of lines has, or -1.
func callStatus(block []byte) int {
	for len(block) > 0 {
		f, rest := knownField(block)
		if f.line == nil {
			break
		}
		if len(f.name) == len(grpcStatus) && equalFold(f.name, grpcStatus) {
			if n, ok := parseLength(f.value); ok && n <= math.MaxUint8 {
				return int(n)
			}
			break
		}
		block = rest
	}
	return -1
}
