package message

import (
	"testing"
	"time"
)

func TestParseGRPCTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "30S": 30 * time.Second, "250m": 250 * time.Millisecond,
		"7u": 7 * time.Microsecond, "99999999n": 99_999_999, "99999999H": longest, "99999999M": longest,
		"": 0, "S": 0, "5": 0, "5s": 0, "123456789S": 0, "-1S": 0, "1.5S": 0, " 1S": 0, "0S": 0,
	} {
		if got, ok := parseGRPCTimeout([]byte(value)); got != want || ok != (want > 0 || value == "0S") {
			t.Errorf("%q: got %s, %v, want %s", value, got, ok, want)
		}
	}
}

func TestCallStatus(t *testing.T) {
	for block, want := range map[string]int{
		"":                                    -1,
		"a: b\r\n":                            -1,
		"a: b\r\ngrpc-status: 0\r\n":          0,
		"Grpc-Status: 14\r\na: b\r\n":         14,
		"grpc-status: x\r\n":                  -1,
		"grpc-status: 99999999999\r\n":        -1,
		"grpc-status-details-bin: 3\r\n":      -1,
		"grpc-status:7\r\ngrpc-status: 8\r\n": 7,
	} {
		if got := callStatus([]byte(block)); got != want {
			t.Errorf("%q: got %d, want %d", block, got, want)
		}
	}
}

// TestGRPCOf is for the types of gRPC and the encodings of its messages.
func TestGRPCOf(t *testing.T) {
	for value, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc-web": true, "application/json": false, "": false,
	} {
		if got := grpcOf([]byte(value), []byte("2S")); got.Is != want || (got.Timeout == 2*time.Second) != want {
			t.Errorf("%q: got %+v", value, got)
		}
	}
}
