package reason

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"testing"
)

func TestReasons(t *testing.T) {
	code := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]Code{}
	for why := None + 1; why < Count; why++ {
		row := table[why]
		if !code.MatchString(row.code) {
			t.Errorf("reason %d has the code %q", why, row.code)
		}
		first, twice := seen[row.code]
		if !twice {
			first = why
		}
		if twice && row.code != "bad_request" && row.code != "no_backend" && row.code != "response_timeout" {
			t.Errorf("reasons %d and %d have the code %s", first, why, row.code)
		}
		if seen[row.code] = first; why.CountedAs() != first {
			t.Errorf("%s is counted as reason %d, want %d", row.code, why.CountedAs(), first)
		}
		if row.status != 0 && row.status != 499 && http.StatusText(row.status) == "" {
			t.Errorf("%s has the status %d", row.code, row.status)
		}
		// A response is sent for each, except where none can be sent any more.
		if sent := why != BackendAborted && why != TunnelTimeout && why != ClientGone; sent != (row.detail != "") || sent != (why.Answer() != nil) {
			t.Errorf("%s: detail %q, response %q", row.code, row.detail, why.Answer())
		}
	}
	if None.String() != "" || None.Answer() != nil {
		t.Error("no reason has a response")
	}
}

func TestProblems(t *testing.T) {
	for why, answer := range answers {
		if answer.Head == nil {
			continue
		}
		row := table[why]
		t.Run(row.code+strconv.Itoa(row.status), func(t *testing.T) {
			var body struct {
				Type, Title, Reason, Detail string
				Status                      int
			}
			d := json.NewDecoder(bytes.NewReader(answer.Body))
			d.DisallowUnknownFields()
			if err := d.Decode(&body); err != nil {
				t.Fatalf("%v in %s", err, answer.Body)
			}
			if body.Type != "about:blank" || body.Title != http.StatusText(row.status) || body.Status != row.status || body.Reason != row.code || body.Detail != row.detail {
				t.Errorf("got %+v", body)
			}
			want := "HTTP/1.1 " + strconv.Itoa(row.status) + " " + body.Title + "\r\nContent-Type: application/problem+json\r\nContent-Length: " +
				strconv.Itoa(len(answer.Body)) + "\r\n"
			if string(answer.Head) != want {
				t.Errorf("got %q, want %q", answer.Head, want)
			}
		})
	}
}
