package reason

import (
	"strings"
	"testing"
)

// TestGRPC has a status for each reason that has an answer, and a message that needs no encoding.
func TestGRPC(t *testing.T) {
	for r := range Count {
		fields := string(r.GRPCFields())
		if (fields != "") != (r.Answer() != nil) || (r.GRPCStatus() != 0) != (fields != "") {
			t.Errorf("%s: an answer: %v, fields of gRPC %q", r, r.Answer() != nil, fields)
		}
		_, message, _ := strings.Cut(fields, "grpc-message: ")
		if strings.ContainsFunc(strings.TrimSuffix(message, "\r\n"), func(c rune) bool { return c < ' ' || c > '~' || c == '%' }) {
			t.Errorf("%s: the message %q has to be percent-encoded", r, message)
		}
	}
}
