package clients

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// usageOf returns the usage of a client without its tokens, which the tests of the limiter cover.
func (a *api) usageOf(path string) usageJSON {
	a.t.Helper()
	var u usageJSON
	a.decode(a.call(http.StatusOK, "GET", path+"/usage", ""), &u)
	return u
}

func TestUsageAndReset(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	const terms = `"capacity":2,"rate_per_second":0.001,"trial":{"capacity":1,"rate_per_second":0.001}`
	a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.1",`+terms+`}`)
	a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.1.0.0/16","shadow":true,`+terms+`}`)
	a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_key":"the key of acme",`+terms+`}`)
	for _, c := range []struct {
		paths     []string
		addr, key string
		want      usageJSON
	}{
		{[]string{"/10.0.0.1", "/10.0.0.1/32", "/::ffff:10.0.0.1"}, "10.0.0.1", "", usageJSON{Allowed: 2, Limited: 1, TrialLimited: 2}},
		{[]string{"/10.1.0.0/16", "/10.1.0.0%2F16"}, "10.1.2.3", "", usageJSON{Allowed: 2, ShadowLimited: 1, TrialLimited: 2}},
		{[]string{"/acme", "/%61cme"}, "192.0.2.1", "the key of acme", usageJSON{Allowed: 2, Limited: 1, TrialLimited: 2}},
	} {
		if got := a.call(http.StatusOK, "GET", c.paths[0]+"/usage", ""); !strings.Contains(got.body, `"last_seen":null`) {
			t.Errorf("the usage of a new client is %s", got.body)
		}
		before := time.Now().Add(-2 * time.Second)
		for range 3 {
			admit(a.limiter, c.addr, c.key)
		}
		for _, path := range c.paths {
			for _, slash := range []string{"", "/"} {
				var u usageJSON
				a.decode(a.call(http.StatusOK, "GET", path+"/usage"+slash, ""), &u)
				if u.LastSeen == nil || u.LastSeen.Before(before) || u.LastSeen.After(time.Now().Add(time.Second)) ||
					u.LastSeen.Location() != time.UTC {
					t.Errorf("%s was last seen %s", path, u.LastSeen)
				}
				if u.Tokens >= 1 {
					t.Errorf("%s has %g tokens left", path, u.Tokens)
				}
				if u.Tokens, u.LastSeen = 0, nil; u != c.want {
					t.Errorf("the usage of %s%s is %+v, want %+v", path, slash, u, c.want)
				}
			}
		}
		for _, path := range c.paths {
			for _, slash := range []string{"", "/"} {
				admit(a.limiter, c.addr, c.key)
				if got := a.call(http.StatusNoContent, "POST", path+"/reset"+slash, ""); got.body != "" {
					t.Errorf("the reset of %s has the body %q", path, got.body)
				}
				u := a.usageOf(path)
				if u.Tokens != 2 || u.Allowed+u.Limited+u.ShadowLimited+u.TrialLimited != 0 {
					t.Errorf("after a reset the usage of %s is %+v", path, u)
				}
			}
		}
	}
}

func TestUsageOfRequestsUnderWay(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.createNamed("acme", "the key of acme", 5)
	var d limiter.Decision
	client := a.limiter.Identify(addressID("192.0.2.1/32").Prefix.Addr(), []byte("the key of acme"))
	lease := a.limiter.Admit(client, time.Now(), &d)
	if u := a.usageOf("/acme"); u.InFlight != 1 {
		t.Errorf("during a request the usage is %+v", u)
	}
	lease.Release()
	if u := a.usageOf("/acme"); u.InFlight != 0 || u.Allowed != 1 {
		t.Errorf("after a request the usage is %+v", u)
	}
}

func TestUsageAndResetRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.create("10.0.0.0/8", 5)
	for _, path := range []string{"/10.0.0.1", "/10.0.0.0/9", "/10.0.0.0%2F9", "/acme"} {
		for _, slash := range []string{"", "/"} {
			a.refuse(http.StatusNotFound, "", "there is no client", "GET", path+"/usage"+slash, "")
			a.refuse(http.StatusNotFound, "", "there is no client", "POST", path+"/reset"+slash, "")
		}
	}
	for path, text := range map[string]string{"/10.0.0.1/8": "10.0.0.0/8", "/1st": "letter", "/acme/8": "CIDR"} {
		a.refuse(http.StatusUnprocessableEntity, "client", text, "GET", path+"/usage", "")
		a.refuse(http.StatusUnprocessableEntity, "client", text, "POST", path+"/reset", "")
	}
	for _, body := range []string{"{}", " ", "null", `{"tokens":1}`} {
		a.refuse(http.StatusUnprocessableEntity, "", fmt.Sprintf("the body has %d bytes; allowed is none", len(body)),
			"POST", "/10.0.0.0/8/reset", body)
	}
	for method, path := range map[string]string{
		"POST": "/10.0.0.0/8/usage", "GET": "/10.0.0.0/8/reset", "PUT": "/10.0.0.0%2F8/usage/", "DELETE": "/acme/reset/",
	} {
		if got := send(t, method, a.base+collection+path, ""); got.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is %d, want 405", method, path, got.status)
		}
	}
}

// TestNamesOfCalls checks that a client may have the name of a call.
func TestNamesOfCalls(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for _, name := range []string{"usage", "reset", "limited", "clients"} {
		if created := a.createNamed(name, "the key of "+name, 5); !reflect.DeepEqual(a.get("/"+name), created) || !reflect.DeepEqual(a.get("/"+name+"/"), created) {
			t.Errorf("the client %s is not found", name)
		}
	}
}

func TestLimitedList(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for _, slash := range []string{"", "/"} {
		if got := a.call(http.StatusOK, "GET", limitedPath+slash, ""); strings.TrimSpace(got.body) != "[]" {
			t.Errorf("the empty list is %q", got.body)
		}
	}
	for _, limit := range []string{"0", "-1", "101", "ten", "1.5", ""} {
		a.refuse(http.StatusUnprocessableEntity, "limit", "from 1 to 100", "GET", limitedPath+"?limit="+limit, "")
	}
	if got := send(t, "POST", a.base+limitedPath, ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST is %d, want 405", got.status)
	}
}

func TestLimitedListHoldsClients(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.createNamed("acme", "the key of acme", 1)
	a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.0/8","capacity":1,"rate_per_second":0.001,"shadow":true}`)
	for range 50 {
		admit(a.limiter, "192.0.2.1", "the key of acme")
	}
	for range 20 {
		admit(a.limiter, "10.1.2.3", "")
	}
	standard := limiter.DefaultConfig().Default
	for range standard.Capacity + 200 {
		admit(a.limiter, "203.0.113.9", "")
	}
	var got []limitedJSON
	a.decode(a.call(http.StatusOK, "GET", limitedPath, ""), &got)
	if len(got) != 3 || got[0].Client != "203.0.113.9" || got[0].Registered || got[0].Shadow ||
		got[1].Client != "acme" || !got[1].Registered || got[1].Shadow ||
		got[2].Client != "10.0.0.0/8" || !got[2].Registered || !got[2].Shadow {
		t.Fatalf("got %+v", got)
	}
	for i, least := range []int64{150, 40, 10} {
		if got[i].Rejections < least {
			t.Errorf("%s has %d rejections, want at least %d", got[i].Client, got[i].Rejections, least)
		}
	}
	a.decode(a.call(http.StatusOK, "GET", limitedPath+"/?limit=1", ""), &got)
	if len(got) != 1 || got[0].Client != "203.0.113.9" {
		t.Errorf("the first is %+v", got)
	}
}

// TestShow covers the JSON of what the limiter returns.
func TestShow(t *testing.T) {
	seen := time.Date(2026, 2, 1, 13, 0, 0, 0, time.FixedZone("CET", 3600))
	for _, c := range []struct {
		want  string
		value any
	}{
		{`{"tokens":3.5,"allowed":1,"limited":2,"shadow_limited":3,"trial_limited":4,` +
			`"in_flight":5,"last_seen":"2026-02-01T12:00:00Z"}`,
			showUsage(limiter.Usage{Tokens: 3.5, Allowed: 1, Limited: 2, ShadowLimited: 3, TrialLimited: 4, InFlight: 5, LastSeen: seen})},
		{`{"tokens":0,"allowed":0,"limited":0,"shadow_limited":0,"trial_limited":0,"in_flight":0,"last_seen":null}`,
			showUsage(limiter.Usage{})},
		{`[{"client":"acme","registered":true,"shadow":false,"rejections":532}]`,
			showLimited([]limiter.Limited{{Client: "acme", Registered: true, Rejections: 532}})},
		{"[]", showLimited(nil)},
	} {
		var ctx fasthttp.RequestCtx
		rest.WriteJSON(&ctx, http.StatusOK, c.value)
		if got := strings.TrimSpace(string(ctx.Response.Body())); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
