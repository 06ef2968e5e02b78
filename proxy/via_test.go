package proxy

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestVia wants the name behind each message's own Via, with the version in which it was received,
// and no Via at all without a name.
func TestVia(t *testing.T) {
	for _, test := range []struct{ name, client, backend, toBackend, toClient string }{
		{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1 200 OK", "Via: 1.1 lb-1", "Via: 1.1 lb-1"},
		{"a client of HTTP/1.0", "HTTP/1.0", "HTTP/1.1 200 OK", "Via: 1.0 lb-1", "Via: 1.1 lb-1"},
		{"a backend of HTTP/1.0", "HTTP/1.1", "HTTP/1.0 200 OK", "Via: 1.1 lb-1", "Via: 1.0 lb-1"},
		{"both", "HTTP/1.0", "HTTP/1.0 404 Not Found", "Via: 1.0 lb-1", "Via: 1.0 lb-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			requests := make(chan string, 2)
			url := startRawBackend(t, func(conn net.Conn) {
				header, err := readRequestHeader(bufio.NewReader(conn))
				if err == nil {
					requests <- header
					fmt.Fprint(conn, lines(test.backend, "Via: 1.1 origin", "Content-Length: 0"))
				}
			})
			o := testOptions(url)
			_, without := startProxy(t, o)
			o.Server.Via = "lb-1"
			_, with := startProxy(t, o)
			request := withHost("GET / "+test.client, "Via: 1.1 edge", "Connection: close")
			for address, want := range map[string][2]string{
				without: {"Via: 1.1 edge", "Via: 1.1 origin"},
				with:    {"Via: 1.1 edge\r\n" + test.toBackend, "Via: 1.1 origin\r\n" + test.toClient},
			} {
				answer := talk(t, address, request)
				if header := <-requests; viaOf(header) != want[0] {
					t.Errorf("the backend got %q, want %q", header, want[0])
				}
				if viaOf(answer) != want[1] {
					t.Errorf("the client got %q, want %q", answer, want[1])
				}
			}
		})
	}
}

// viaOf are the Via fields of a message.
func viaOf(header string) string {
	var all []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if strings.HasPrefix(line, "Via:") {
			all = append(all, line)
		}
	}
	return strings.Join(all, "\r\n")
}

// What no backend answered did not come through another hop.
func TestViaIsNotOnOwnAnswers(t *testing.T) {
	o := testOptions("http://" + closedPort(t))
	o.Server.Via = "lb-1"
	_, address := startProxy(t, o)
	if got := talk(t, address, get("/")); !strings.HasPrefix(got, "HTTP/1.1 502 ") || viaOf(got) != "" {
		t.Errorf("got %q", got)
	}
}
