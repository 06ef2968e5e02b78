package described

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestRecorder has calls and responses that are as described, and others.
func TestRecorder(t *testing.T) {
	const good = `{"at":"2026-02-01T12:00:00Z","kind":"a"}`
	for _, test := range []struct {
		name, method, target, sent string
		fields                     string // of the request, and behind a | those of the response
		status                     int
		body                       string
		fault                      string
	}{
		{"a thing", "GET", "/things/a?limit=3", "", "|Lb-Version: 1", 200, good, ""},
		{"a range, plain and with a slash", "GET", "/things/10.0.0.0/8/", "", "|Lb-Version: 1", 200, `{"at":null}`, ""},
		{"HEAD", "HEAD", "/things/a", "", "|Lb-Version: 1", 200, "", ""},
		{"another field", "GET", "/things/a", "", "|Lb-Version: 1", 200, `{"at":null,"a":1}`, "false schema"},
		{"another type", "GET", "/things/a", "", "|Lb-Version: 1", 200, `{"at":1}`, "got number"},
		{"another format", "GET", "/things/a", "", "|Lb-Version: 1", 200, `{"at":"today"}`, "date-time"},
		{"another const", "GET", "/things/a", "", "|Lb-Version: 1", 200, `{"at":null,"kind":"b"}`, "/kind"},
		{"no JSON", "GET", "/things/a", "", "|Lb-Version: 1", 200, `{"at":null`, "not JSON"},
		{"no field", "GET", "/things/a", "", "", 200, good, "the field Lb-Version: is missing"},
		{"a field of another type", "GET", "/things/a", "", "|Lb-Version: a", 200, good, "the field Lb-Version"},
		{"a field that is not described", "GET", "/things/a", "", "|Lb-Version: 1\nLb-Stale: 3", 200, good, "the field Lb-Stale is not described"},
		{"another Content-Type", "GET", "/things/a", "", "|Lb-Version: 1\nContent-Type: text/plain", 200, good, `the Content-Type "text/plain" is not described`},
		{"another status", "GET", "/things/a", "", "", 404, good, "the status is not described"},
		{"lines", "GET", "/things/a", "", "|Lb-Version: 1\nContent-Type: application/x-ndjson", 200, good + "\n" + good + "\n", ""},
		{"a wrong line", "GET", "/things/a", "", "|Lb-Version: 1\nContent-Type: application/x-ndjson", 200, good + "\n{}\n", "at"},
		{"CSV", "GET", "/things/a", "", "|Lb-Version: 1\nContent-Type: text/csv; charset=utf-8", 200, "at\nnow\n", ""},
		{"a parameter that is not described", "GET", "/things/a?x=1", "", "|Lb-Version: 1", 200, good, "the parameter x is not described"},
		{"a parameter out of bounds", "GET", "/things/a?limit=11", "", "|Lb-Version: 1", 200, good, "the parameter limit"},
		{"a parameter twice", "GET", "/things/a?limit=1&limit=2", "", "|Lb-Version: 1", 200, good, "twice"},
		{"another path parameter", "GET", "/things/A", "", "|Lb-Version: 1", 200, good, "the parameter client"},
		{"a write", "PUT", "/things/a", good, "If-Match: x", 204, "", ""},
		{"lines of a write", "PUT", "/things/a", "at\nnever", "If-Match: x\nContent-Type: text/csv", 204, "", ""},
		{"a write without its field", "PUT", "/things/a", good, "", 204, "", "the parameter If-Match: is missing"},
		{"a wrong write that is accepted", "PUT", "/things/a", `{}`, "If-Match: x", 204, "", "missing property 'at'"},
		{"a wrong write that is refused", "PUT", "/things/a", `{}`, "", 409, "", ""},
		{"an empty write that is accepted", "PUT", "/things/a", "", "If-Match: x", 204, "", "no body"},
		{"a body that is not described", "PUT", "/things/a", "", "", 409, "no", "a body of the response is not described"},
		{"a method that is not described", "DELETE", "/things/a", "", "", 405, "no", ""},
		{"a method that is not described, and accepted", "DELETE", "/things/a", "", "", 204, "", "the call is not described"},
		{"a path that is not described, and fails", "GET", "/other", "", "", 500, "", "the call is not described"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ask, answer, _ := strings.Cut(test.fields, "|")
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				setFields(w.Header(), answer)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			recorder := NewRecorder("testdata/small.yaml")
			fault := ""
			request, err := http.NewRequest(test.method, server.URL+prefix+test.target, strings.NewReader(test.sent))
			if err != nil {
				t.Fatal(err)
			}
			setFields(request.Header, ask)
			client := http.Client{Transport: recorder.Transport(http.DefaultTransport)}
			response, err := client.Do(request)
			if err == nil {
				var body []byte
				if body, err = io.ReadAll(response.Body); err == nil && string(body) != test.body {
					t.Errorf("the body is %q", body)
				}
				response.Body.Close()
			}
			if err != nil {
				fault = err.Error()
			}
			kept := strings.Join(recorder.Report(func(*Operation, string) bool { return false }), "\n")
			if (fault == "") != (test.fault == "") || !strings.Contains(fault, test.fault) || (kept == "") != (fault == "") || !strings.Contains(fault, kept) {
				t.Errorf("got %q, and kept %q, want %q", fault, kept, test.fault)
			}
		})
	}
}

func setFields(h http.Header, fields string) {
	for field := range strings.Lines(fields) {
		name, value, _ := strings.Cut(strings.TrimSpace(field), ": ")
		h.Set(name, value)
	}
}

// TestReport has one of three described responses got.
func TestReport(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	recorder := NewRecorder("testdata/small.yaml")
	client := http.Client{Transport: recorder.Transport(http.DefaultTransport)}
	request, err := http.NewRequest("PUT", server.URL+recorder.Operations()[0].Target(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(request); err == nil { // its body is not described
		t.Error("the response is not as described")
	}
	missing := func(o *Operation, status string) bool { return o.Method == "PUT" || status != "200" }
	got := recorder.Report(missing)
	if len(got) != 2 || !strings.HasSuffix(got[1], "PUT /things/{client} 204") {
		t.Errorf("got %q", got)
	}
	if got := recorder.Report(func(*Operation, string) bool { return true }); len(got) != 3 || !slices.ContainsFunc(got, func(line string) bool {
		return strings.HasSuffix(line, "GET /things/{client} 200")
	}) {
		t.Errorf("got %q", got)
	}
}
