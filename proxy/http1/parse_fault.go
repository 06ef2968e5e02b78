package http1

import (
	"strings"

	"loadbalancer/proxy/message"
)

// parseFaults are pieces of fasthttp's errors, and what they mean.
var parseFaults = [...]struct {
	text  string
	cause error
}{
	{"too many host headers", message.ErrHosts},
	{"too many transfer-encoding headers", message.ErrLengths},
	{"duplicate content-length", message.ErrLengths},
	{"content-length and transfer-encoding conflict", message.ErrLengths},
	{"cannot parse content-length", message.ErrLength},
	{"unsupported transfer-encoding", message.ErrCoding},
	{"unsupported http version", message.ErrVersion},
	{"invalid header", message.ErrLine},
	{"request method", errRequestLines},
	{"uri", message.ErrTarget},
	{"request line", errRequestLines},
	{"first line", errRequestLines},
}

// parseFault returns what an error of fasthttp means. Bytes of the request, which may follow in
// quotes, are left out.
func parseFault(err error) error {
	text, _, _ := strings.Cut(err.Error(), `"`)
	for _, f := range parseFaults {
		if strings.Contains(text, f.text) {
			return f.cause
		}
	}
	return errRequestHeader
}
