package proxy

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/upstream"
)

// startNamed returns backends that answer with their numbers.
func startNamed(t *testing.T, n int) (urls []string) {
	t.Helper()
	for i := range n {
		urls = append(urls, startBackend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	return urls
}

// ask sends a GET with these fields, "Name", "value", …, and returns the body and the response.
func ask(t *testing.T, url string, fields ...string) (string, *http.Response) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Add(fields[i], fields[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), response
}

// Requests with the same value go to the same backend, wherever else they differ, and those with
// other values are spread. Those without a value go by the client's address.
func TestHash(t *testing.T) {
	t.Parallel()
	urls := startNamed(t, 5)
	for by, request := range map[string]func(value string, other int) (target string, fields []string){
		"header:X-Tenant": func(value string, other int) (string, []string) {
			return fmt.Sprint("/", other), []string{"x-tenant", value, "X-Other", fmt.Sprint(other)}
		},
		"cookie:session": func(value string, other int) (string, []string) {
			return fmt.Sprint("/", other), []string{"Cookie", fmt.Sprint("a=", other, "; session=", value)}
		},
		"path": func(value string, other int) (string, []string) {
			return fmt.Sprint("/", value, "?", other), []string{"X-Other", fmt.Sprint(other)}
		},
	} {
		t.Run(by, func(t *testing.T) {
			o := testOptions(urls...)
			o.Server.TrustedProxies = prefixes("127.0.0.1")
			pool := o.Pools["main"]
			pool.Balance = balance.Hash
			if err := pool.Hash.UnmarshalText([]byte(by)); err != nil {
				t.Fatal(err)
			}
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			drawn := map[string]bool{}
			for value := range 40 {
				target, fields := request(fmt.Sprint("v", value), 0)
				first, _ := ask(t, "http://"+address+target, fields...)
				drawn[first] = true
				for other := range 3 {
					target, fields := request(fmt.Sprint("v", value), other)
					if got, _ := ask(t, "http://"+address+target, append(fields, "X-Forwarded-For", fmt.Sprint("192.0.2.", other))...); got != first {
						t.Errorf("value %d went to backend %s, and then to %s", value, first, got)
					}
				}
			}
			if len(drawn) != len(urls) {
				t.Errorf("40 values went to %d of %d backends", len(drawn), len(urls))
			}
			if by == "path" { // there always is one
				return
			}
			drawn = map[string]bool{}
			for client := range 40 {
				got, _ := ask(t, "http://"+address+"/", "X-Forwarded-For", fmt.Sprint("192.0.2.", client))
				drawn[got] = true
			}
			if len(drawn) < 4 {
				t.Errorf("40 clients without the value went to %d of %d backends", len(drawn), len(urls))
			}
		})
	}
}

func TestHashKeyNames(t *testing.T) {
	for text, want := range map[string]upstream.HashKey{
		"path": {From: upstream.HashPath}, "header:X-A": {From: upstream.HashHeader, Name: "x-a"}, "cookie:Ab": {From: upstream.HashCookie, Name: "Ab"}, "": {},
	} {
		var got upstream.HashKey
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %v (%v)", text, got, err)
		}
	}
	for _, text := range []string{"header", "header:", "header:a b", "cookie:a=b", "cookie:", "path:x", "paths", "ip"} {
		if (&upstream.HashKey{}).UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is valid", text)
		}
	}
}
