package backend

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mustPut changes the fault of the backend.
func mustPut(t *testing.T, url, fault string) {
	t.Helper()
	if resp, body := do(t, http.MethodPut, url+"/control", fault); resp.StatusCode != 200 {
		t.Fatalf("PUT %s: %d, %s", fault, resp.StatusCode, body)
	}
}

// met is what a request met.
type met struct {
	status      int
	body        string
	err         error
	head, whole time.Duration // until the header, and until the end
}

// ask sends a GET on a connection of its own, so that the client does not repeat it.
func ask(url string) (m met) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	begun := time.Now()
	resp, err := c.Get(url)
	m.head = time.Since(begun)
	if err != nil {
		m.err = err
		return m
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return met{resp.StatusCode, string(body), err, m.head, time.Since(begun)}
}

// TestFaults gives a backend each fault in turn; once it is over, the backend answers as before.
func TestFaults(t *testing.T) {
	const late = 300 * time.Millisecond
	url, _ := start(t, Options{Name: "b"})
	for _, test := range []struct {
		fault string
		want  func(met) bool
	}{
		{`{"fault":"fail"}`, func(m met) bool { return m.status == 500 && m.body == "backend b\n" }},
		{`{"fault":"fail","status":404}`, func(m met) bool { return m.status == 404 }},
		{`{"fault":"slow","delay":"300ms"}`, func(m met) bool { return m.status == 200 && m.head >= late }},
		{`{"fault":"hang","for":"300ms"}`, func(m met) bool { return m.status == 200 && m.head >= late*9/10 }},
		{`{"fault":"stall","for":"300ms"}`, func(m met) bool {
			return m.status == 200 && m.body == "backend b\n" && m.head < late/2 && m.whole >= late*9/10
		}},
		{`{"fault":"reset"}`, func(m met) bool { return errors.Is(m.err, syscall.ECONNRESET) }},
		{`{"fault":"close"}`, func(m met) bool { return errors.Is(m.err, io.EOF) }},
		{`{"fault":"none"}`, func(m met) bool { return m.status == 200 }},
	} {
		mustPut(t, url, test.fault)
		if got := ask(url); !test.want(got) {
			t.Errorf("%s: got %+v", test.fault, got)
		}
		mustPut(t, url, strings.Replace(test.fault, `"for":"300ms"`, `"for":"1h"`, 1))
		if got := ask(url + "/healthz"); got.status != 200 || got.body != "ok\n" {
			t.Errorf("%s: a check got %+v", test.fault, got)
		}
		mustPut(t, url, `{"fault":"none"}`)
		if got := ask(url); got.status != 200 || got.body != "backend b\n" {
			t.Errorf("after %s: got %+v", test.fault, got)
		}
	}
}

// TestFaultEndsWhatHangs: a request that hangs is answered as soon as the fault is replaced.
func TestFaultEndsWhatHangs(t *testing.T) {
	url, _ := start(t, Options{})
	mustPut(t, url, `{"fault":"hang"}`)
	answered := make(chan met, 1)
	go func() { answered <- ask(url) }()
	for state(t, url).Requests == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case m := <-answered:
		t.Fatalf("got %+v, while the backend hangs", m)
	case <-time.After(100 * time.Millisecond):
	}
	mustPut(t, url, `{"fault":"none"}`)
	if m := <-answered; m.status != 200 {
		t.Errorf("got %+v", m)
	}
}

func TestFaultOfAFraction(t *testing.T) {
	url, _ := start(t, Options{})
	mustPut(t, url, `{"fault":"fail","fraction":0.5}`)
	failed := 0
	for range 200 {
		if resp, _ := get(t, url); resp.StatusCode == 500 {
			failed++
		}
	}
	if failed < 50 || failed > 150 {
		t.Errorf("%d of 200 requests failed, want about half", failed)
	}
}

func TestFaultOfChecks(t *testing.T) {
	url, _ := start(t, Options{})
	mustPut(t, url, `{"fault":"fail","status":503,"checks":true}`)
	if m := ask(url + "/healthz"); m.status != 503 {
		t.Errorf("a check got %+v", m)
	}
}

// TestRestart: for a time nothing listens, connections are closed, and then it listens again.
func TestRestart(t *testing.T) {
	url, stop := start(t, Options{})
	get(t, url)
	mustPut(t, url, `{"fault":"restart","for":"500ms"}`)
	end := time.Now().Add(5 * time.Second)
	until := func(what string, is func(met) bool) {
		for !is(ask(url)) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain for %s", what)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	until("the listener to close", func(m met) bool { return errors.Is(m.err, syscall.ECONNREFUSED) })
	begun := time.Now()
	until("it to listen again", func(m met) bool { return m.status == 200 })
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("nothing listened for %s, want about 500ms", took)
	}
	if s := state(t, url); s.Fault != "none" || s.Requests < 2 {
		t.Errorf("after the restart: %+v", s)
	}
	mustPut(t, url, `{"fault":"restart","for":"1h"}`)
	if err := stop(); err != nil { // a restart does not hold up the end
		t.Errorf("Serve returned %v, want nil", err)
	}
}

// shown is the answer to GET /control.
type shown struct {
	Fault    string
	Status   int
	Delay    string
	Fraction float64
	For      string
	Requests int
}

func state(t *testing.T, url string) (s shown) {
	t.Helper()
	_, body := get(t, url+"/control")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return s
}

// TestControl: GET shows what PUT set, which can be sent back, and counts requests.
func TestControl(t *testing.T) {
	url, _ := start(t, Options{})
	if got := state(t, url); got != (shown{Fault: "none"}) {
		t.Errorf("at first: %+v", got)
	}
	get(t, url)
	get(t, url+"/healthz")
	mustPut(t, url, `{"fault":"slow","delay":"1.5s","for":"10s"}`)
	want := shown{Fault: "slow", Delay: "1.5s", For: "10s", Fraction: 1, Requests: 1}
	if got := state(t, url); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, body := get(t, url+"/control")
	mustPut(t, url, body)
	if got := state(t, url); got != want {
		t.Errorf("sent back: got %+v, want %+v", got, want)
	}
}

// TestControlIsNotForwarded: clients of a proxy do not control the backend behind it.
func TestControlIsNotForwarded(t *testing.T) {
	url, _ := start(t, Options{Name: "b"})
	r, err := http.NewRequest(http.MethodPut, url+"/control", strings.NewReader(`{"fault":"fail"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "backend b\n" || state(t, url).Fault != "none" {
		t.Errorf("got %q, and the fault is %s", body, state(t, url).Fault)
	}
}

func TestControlRefuses(t *testing.T) {
	url, _ := start(t, Options{})
	for fault, want := range map[string]string{
		``:                                 `"fault":"fail"`,
		`{"fault":"explode"}`:              "one of none, fail, slow",
		`{"fault":"fail","status":99}`:     "200 to 599",
		`{"fault":"slow"}`:                 "such as 200ms",
		`{"fault":"slow","delay":"fast"}`:  "fast",
		`{"fault":"fail","fraction":0}`:    "at most 1",
		`{"fault":"fail","fraction":1.5}`:  "at most 1",
		`{"fault":"fail","for":"-1s"}`:     "such as 10s",
		`{"fault":"fail","howlong":"10s"}`: "howlong",
	} {
		resp, body := do(t, http.MethodPut, url+"/control", fault)
		if resp.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d, %s, want 400 and %s", fault, resp.StatusCode, body, want)
		}
	}
	if resp, _ := do(t, http.MethodPost, url+"/control", ""); resp.StatusCode != 405 {
		t.Errorf("POST: got %d, want 405", resp.StatusCode)
	}
}
