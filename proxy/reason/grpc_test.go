package reason

import (
	"fmt"
	"os"
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

// TestGRPCTable holds the table of docs/grpc.md to the statuses: each reason is there, with its own.
func TestGRPCTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/grpc.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for _, name := range strings.Split(cells[1], ",") {
			rows[strings.Trim(name, " `")] = cells[2]
		}
	}
	for r := range Count {
		if status := r.GRPCStatus(); status != 0 && !strings.Contains(rows[r.String()], fmt.Sprintf("%d ", status)) {
			t.Errorf("%s: the table has %q, want %d", r, rows[r.String()], status)
		}
	}
	if _, status := BrokenCall(false); !strings.Contains(rows[BackendAborted.String()], fmt.Sprintf("%d ", status)) {
		t.Errorf("%s: the table has %q", BackendAborted, rows[BackendAborted.String()])
	}
}
