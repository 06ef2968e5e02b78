package proxy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestReasons(t *testing.T) {
	code := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]reason{}
	for why := none + 1; why < reasons; why++ {
		row := reasonTable[why]
		if !code.MatchString(row.code) {
			t.Errorf("reason %d has the code %q", why, row.code)
		}
		first, twice := seen[row.code]
		if !twice {
			first = why
		}
		if twice && row.code != "bad_request" {
			t.Errorf("reasons %d and %d have the code %s", first, why, row.code)
		}
		if seen[row.code] = first; countedAs[why] != first {
			t.Errorf("%s is counted as reason %d, want %d", row.code, countedAs[why], first)
		}
		if row.status != 0 && row.status != 499 && http.StatusText(row.status) == "" {
			t.Errorf("%s has the status %d", row.code, row.status)
		}
		// A response is sent for each but those that nobody can be told of.
		if sent := why != backendAborted && why != tunnelTimeout && why != clientGone; sent != (row.detail != "") || sent != (problems[why].head != nil) {
			t.Errorf("%s: detail %q, response %q", row.code, row.detail, problems[why].head)
		}
	}
	if reasonTable[none].code != "" || problems[none].head != nil {
		t.Error("no reason has a response")
	}
}

func TestProblems(t *testing.T) {
	for why, answer := range problems {
		if answer.head == nil {
			continue
		}
		row := reasonTable[why]
		t.Run(row.code+strconv.Itoa(row.status), func(t *testing.T) {
			var body struct {
				Type, Title, Reason, Detail string
				Status                      int
			}
			d := json.NewDecoder(bytes.NewReader(answer.body))
			d.DisallowUnknownFields()
			if err := d.Decode(&body); err != nil {
				t.Fatalf("%v in %s", err, answer.body)
			}
			if body.Type != "about:blank" || body.Title != http.StatusText(row.status) || body.Status != row.status || body.Reason != row.code || body.Detail != row.detail {
				t.Errorf("got %+v", body)
			}
			want := "HTTP/1.1 " + strconv.Itoa(row.status) + " " + body.Title + "\r\nContent-Type: application/problem+json\r\nContent-Length: " +
				strconv.Itoa(len(answer.body)) + "\r\n"
			if string(answer.head) != want {
				t.Errorf("got %q, want %q", answer.head, want)
			}
		})
	}
}

// As a client sees one: the body for all but HEAD, and no word of the backend.
func TestProblemResponse(t *testing.T) {
	_, address := startProxy(t, testOptions("http://127.0.0.1:1"))
	answer := problems[connectFailed]
	want := string(answer.head) + "Connection: close\r\n\r\n"
	if got := withoutDate(talk(t, address, get("/"))); got != want+string(answer.body) {
		t.Errorf("GET: got %q", got)
	}
	if got := withoutDate(talk(t, address, strings.Replace(get("/"), "GET", "HEAD", 1))); got != want {
		t.Errorf("HEAD: got %q", got)
	}
	if got := talk(t, address, withHost("CONNECT a:1 HTTP/1.1")); !strings.Contains(got, "\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n") {
		t.Errorf("CONNECT: got %q", got)
	}
}

// A refusal to HEAD has no body either, when it was the guard that found the fault.
func TestRefusalOfHead(t *testing.T) {
	_, address := startProxy(t, testOptions("http://127.0.0.1:1"))
	for _, request := range []string{"HEAD / HTTP/1.1\nHost: a\r\n\r\n", withHost("HEAD / HTTP/1.2"), withHost("HEAD / HTTP/1.1", "A b: c")} {
		if got := talk(t, address, request); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, "Connection: close\r\n\r\n") {
			t.Errorf("%q: got %q", request, got)
		}
	}
}
