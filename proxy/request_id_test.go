package proxy

import (
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/message"
)

// madeID is an X-Request-Id with an ID that the balancer has made.
var madeID = regexp.MustCompile(`\r\nX-Request-Id: [0-9a-f]{32}\r\n`)

// idSize is its size in bytes, with one CRLF.
const idSize = len("X-Request-Id: ") + 32 + len("\r\n")

// withoutIDs removes the X-Request-Id from each of n headers. Each must have one that the balancer
// has made.
func withoutIDs(t testing.TB, n int, text string) string {
	t.Helper()
	if got := len(madeID.FindAllString(text, -1)); got != n {
		t.Errorf("%d IDs, want %d, in %q", got, n, text)
	}
	return madeID.ReplaceAllString(text, "\r\n")
}

// idsOf returns the values of X-Request-Id in a header, in whatever case its name is.
func idsOf(header string) (ids []string) {
	header, _, _ = strings.Cut(header, "\r\n\r\n")
	for _, line := range strings.Split(header, "\r\n")[1:] {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "X-Request-Id") {
			ids = append(ids, strings.TrimSpace(value))
		}
	}
	return ids
}

func TestRequestID(t *testing.T) {
	const own = "the proxy's own! ~" // no ID, since it has spaces
	longest := strings.Repeat("i", message.MaxID)
	url, got := startRecordingBackend(t)
	o := testOptions(url)
	_, stranger := startProxy(t, o)
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	_, trusting := startProxy(t, o)
	for _, test := range []struct {
		name    string
		address string
		fields  []string
		want    string // "": one is made
	}{
		{"none", stranger, nil, ""},
		{"a stranger's", stranger, []string{"X-Request-Id: evil"}, ""},
		{"none of a trusted proxy", trusting, nil, ""},
		{"a trusted proxy's", trusting, []string{"x-REQUEST-id:\t!a-1~ "}, "!a-1~"},
		{"that Connection names", trusting, []string{"Connection: x-request-id", "X-Request-Id: a"}, "a"},
		{"two", trusting, []string{"X-Request-Id: a", "X-Request-Id: b"}, "a"},
		{"two, the first invalid", trusting, []string{"X-Request-Id:", "X-Request-Id: b"}, ""},
		{"the longest", trusting, []string{"X-Request-Id: " + longest}, longest},
		{"too long", trusting, []string{"X-Request-Id: i" + longest}, ""},
		{"with a space", trusting, []string{"X-Request-Id: " + own}, ""},
		{"beyond ASCII", trusting, []string{"X-Request-Id: \xe9"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := talk(t, test.address, withHost(append([]string{"GET / HTTP/1.1", "Connection: close"}, test.fields...)...))
			sent, back := idsOf(<-got), idsOf(answer)
			if len(sent) != 1 || len(back) != 1 || sent[0] != back[0] {
				t.Fatalf("the backend got %q, the client %q", sent, back)
			}
			if made := regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(sent[0]); sent[0] != test.want && (test.want != "" || !made) {
				t.Errorf("the ID is %q, want %q", sent[0], test.want)
			}
		})
	}
	if got := talk(t, stranger, withHost("GET / HTTP/1.1", "X_Request-Id: a")); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("a name in disguise: got %q", got)
	}
}

// TestRequestIDsDiffer has each request get an ID of its own, on one connection too.
func TestRequestIDsDiffer(t *testing.T) {
	_, address := startProxy(t, testOptions(startBackend(t, mirror)))
	w, seen := newWire(t, address), map[string]bool{}
	for range 100 {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		id := w.receive("GET").Header.Get("X-Request-Id")
		if seen[id] {
			t.Fatalf("%q comes twice", id)
		}
		seen[id] = true
	}
}

// TestRequestIDOfBackend lets the backend's own pass, in place of the request's.
func TestRequestIDOfBackend(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "x-request-ID: of mine", "Content-Length: 0", "Connection: x-request-id")))))
	want := lines("HTTP/1.1 200 OK", "x-request-ID: of mine", "Content-Length: 0", "Connection: close")
	if got := talk(t, address, get("/")); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// TestRequestIDOfOurAnswers has what the balancer answers itself carry the ID that is logged.
func TestRequestIDOfOurAnswers(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.TrustedProxies, o.Access = prefixes("127.0.0.1"), AccessAll
	o.API = apiOf(func(ctx *fasthttp.RequestCtx) { _, _ = ctx.WriteString("ok") })
	for _, test := range []struct{ request, want string }{
		{withHost("GET / HTTP/1.1", "X-Request-Id: mine", "Connection: close"), "mine"},
		{get("/"), ""},
		{withHost("GET /v1/api/ HTTP/1.1", "X-Request-Id: mine", "Connection: close"), "mine"},
		{get("/v1/api/"), ""},
		{withHost("GET / HTTP/1.1", "X-Request-Id: mine", "Content-Length: a"), ""}, // refused before its sender is known
		{"GET\r\n\r\n", ""},
	} {
		answer, lines := logged(t, o, test.request)
		ids := idsOf(answer)
		if len(ids) != 1 || test.want != "" && ids[0] != test.want || test.want == "" && len(ids[0]) != 32 {
			t.Errorf("%q: the client got %q, want %q", test.request, ids, test.want)
			continue
		}
		checkLine(t, lines[0], map[string]any{"request_id": ids[0]})
	}
}
