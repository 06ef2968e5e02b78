package clients

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/limiter"
)

func TestClientLifeCycle(t *testing.T) {
	eachLastingStore(t, func(t *testing.T, cfg Config) {
		a, stop := startAPI(t, cfg)
		standard := limiter.DefaultConfig().Default.Capacity
		before := time.Now().Add(-time.Microsecond)

		got := a.call(http.StatusCreated, "POST", "/", `{"ip_address":"127.0.0.1","capacity":7,"rate_per_second":0.5}`)
		if location := got.header.Get("Location"); location != "/v1/api/clients/127.0.0.1" {
			t.Errorf("Location is %q", location)
		}
		var created clientJSON
		a.decode(got, &created)
		if created.IPAddress != "127.0.0.1" || created.Capacity != 7 || created.RatePerSecond != 0.5 {
			t.Errorf("created %+v", created)
		}
		if created.CreatedAt.Before(before) || created.CreatedAt.After(time.Now()) ||
			!created.UpdatedAt.Equal(created.CreatedAt) || created.CreatedAt.Location() != time.UTC ||
			created.CreatedAt.Nanosecond()%1000 != 0 {
			t.Errorf("created %+v", created)
		}
		a.limited("127.0.0.1", 7)
		if found := a.get("/127.0.0.1"); !reflect.DeepEqual(found, created) {
			t.Errorf("got %+v, want %+v", found, created)
		}
		a.refuse(http.StatusConflict, "ip_address", "127.0.0.1", "POST", "/",
			`{"ip_address":"::ffff:127.0.0.1","capacity":8,"rate_per_second":1}`)
		a.limited("127.0.0.1", 7)

		var changed clientJSON
		a.decode(a.call(http.StatusOK, "PUT", "/127.0.0.1", `{"capacity":200,"rate_per_second":50}`), &changed)
		if changed.Capacity != 200 || changed.RatePerSecond != 50 || !changed.CreatedAt.Equal(created.CreatedAt) ||
			!changed.UpdatedAt.After(created.UpdatedAt) {
			t.Errorf("changed %+v to %+v", created, changed)
		}
		a.limited("127.0.0.1", 200)

		stop() // what follows comes from the store
		a, _ = startAPI(t, cfg)
		if found := a.get("/127.0.0.1"); !reflect.DeepEqual(found, changed) {
			t.Errorf("after a restart got %+v, want %+v", found, changed)
		}
		a.limited("127.0.0.1", 200)

		if got := a.call(http.StatusNoContent, "DELETE", "/127.0.0.1", ""); got.body != "" {
			t.Errorf("DELETE has the body %q", got.body)
		}
		a.limited("127.0.0.1", standard)
		a.refuse(http.StatusNotFound, "", "127.0.0.1", "GET", "/127.0.0.1", "")
		a.refuse(http.StatusNotFound, "", "127.0.0.1", "DELETE", "/127.0.0.1", "")
		a.refuse(http.StatusNotFound, "", "127.0.0.1", "PUT", "/127.0.0.1", `{"capacity":1,"rate_per_second":1}`)
		a.limited("127.0.0.1", standard)
	})
}

func TestPathsOfAClient(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for id, paths := range map[string][]string{
		"10.1.2.3":         {"/10.1.2.3", "/10.1.2.3/", "/10.1.2.3/32", "/::ffff:10.1.2.3", "/%3A%3Affff%3A10.1.2.3/128"},
		"10.0.0.0/8":       {"/10.0.0.0/8", "/10.0.0.0/8/", "/10.0.0.0%2F8", "/10.0.0.0%2f8/", "/::ffff:10.0.0.0/104"},
		"2001:db8::1":      {"/2001:db8::1", "/2001:DB8:0::1/", "/2001%3Adb8%3A%3A1", "/2001:db8::1/128"},
		"2001:db8:5::/48":  {"/2001:db8:5::/48", "/2001%3Adb8%3A5%3A%3A%2F48"},
		"::":               {"/::", "/0:0::0", "/::%2F128"},
		"::/0":             {"/::/0", "/::%2F0/"},
		"0.0.0.0/0":        {"/0.0.0.0/0", "/::ffff:0:0/96"},
		"255.255.255.255":  {"/255.255.255.255", "/::ffff:ffff:ffff"},
		"fe80::1":          {"/fe80::1"},
		"fe80::/10":        {"/fe80::/10"},
		"192.168.1.128/25": {"/192.168.1.128/25"},
	} {
		created := a.create(id, 5)
		if created.IPAddress != id {
			t.Errorf("created %s as %s", id, created.IPAddress)
		}
		for _, path := range paths {
			if found := a.get(path); !reflect.DeepEqual(found, created) {
				t.Errorf("GET %s is %+v, want %+v", path, found, created)
			}
		}
		a.call(http.StatusOK, "PUT", paths[len(paths)-1], `{"ip_address":"`+id+`","capacity":6,"rate_per_second":1}`)
		if found := a.get(paths[0]); found.Capacity != 6 {
			t.Errorf("PUT %s was not stored", paths[len(paths)-1])
		}
	}
	for path, text := range map[string]string{
		"/10.0.0.1/8":       "10.0.0.0/8",
		"/2001:db8::1%2F32": "2001:db8::/32",
		"/::ffff:0:0/95":    "::fffe:0:0/95",
		"/fe80::1%25eth0":   "without zone",
		"/010.0.0.1":        "leading zeros",
		"/10.0.0.0/33":      "CIDR",
		"/10.0.0.0/08":      "CIDR",
		"/nobody/8":         "CIDR",
		"/a:b":              "letters, digits",
		"/10.0.0.1%20":      "CIDR",
	} {
		a.refuse(http.StatusUnprocessableEntity, "client", text, "GET", path, "")
		a.refuse(http.StatusUnprocessableEntity, "client", text, "DELETE", path, "")
		a.refuse(http.StatusUnprocessableEntity, "client", text, "PUT", path, `{"capacity":1,"rate_per_second":1}`)
	}
	a.refuse(http.StatusUnprocessableEntity, "ip_address", "10.1.2.3", "PUT", "/10.1.2.3",
		`{"ip_address":"10.1.2.4","capacity":6,"rate_per_second":1}`)
}

func TestChangesRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.create("10.0.0.1", 7)
	for body, field := range map[string]string{
		`{"capacity":0,"rate_per_second":1}`:                        "capacity",
		`{"capacity":8,"rate_per_second":0}`:                        "rate_per_second",
		`{"capacity":8}`:                                            "rate_per_second",
		`{"rate_per_second":1}`:                                     "capacity",
		`{"ip_address":"nobody","capacity":8,"rate_per_second":1}`:  "ip_address",
		`{"capacity":8,"rate_per_second":1,"last_seen":"now"}`:      "last_seen",
		`{"capacity":8,"rate_per_second":1,"ip_address":"::1"}`:     "ip_address",
		`{"capacity":8,"rate_per_second":1,"rate_per_second":1}`:    "rate_per_second",
		`{"capacity":9007199254740993000,"rate_per_second":1}`:      "capacity",
		`{"capacity":8000000,"rate_per_second":0.0000000000000001}`: "rate_per_second",
	} {
		a.refuse(http.StatusUnprocessableEntity, field, field, "PUT", "/10.0.0.1", body)
	}
	a.refuse(http.StatusBadRequest, "", "not JSON", "PUT", "/10.0.0.1", "")
	a.limited("10.0.0.1", 7)
}

func TestMethodsAndSlashes(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for _, slash := range []string{"", "/"} {
		a.call(http.StatusCreated, "POST", slash, fmt.Sprintf(`{"ip_address":"10.0.0.%d","capacity":1,"rate_per_second":1}`, len(slash)))
		a.call(http.StatusOK, "GET", slash, "")
		for method, path := range map[string]string{"PUT": "", "DELETE": "", "POST": "/10.0.0.0", "PATCH": ""} {
			if got := send(t, method, a.base+collection+path+slash, "{}"); got.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s is %d, want 405", method, path+slash, got.status)
			}
		}
	}
}

func TestList(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		if got := a.call(http.StatusOK, "GET", "/", ""); strings.TrimSpace(got.body) != "[]" || got.header.Get("Link") != "" {
			t.Errorf("the empty list is %q with Link %q", got.body, got.header.Get("Link"))
		}
		want := []string{
			"0.0.0.0/0", "0.0.0.0", "9.255.255.255", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0", "10.0.0.9", "10.0.0.10",
			"192.168.0.0/16", "255.255.255.255", "::/0", "::", "::1", "2001:db8::/32", "2001:db8::", "2001:db8::9",
			"2001:db8::10", "fe80::/10",
		}
		shuffled := slices.Clone(want)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, id := range shuffled {
			a.create(id, 5)
		}
		for _, size := range []int{1, 5, len(want) - 1, len(want), 1000} {
			if got, pages := a.listAll(size); !slices.Equal(got, want) || pages != (len(want)+size-1)/size {
				t.Errorf("in pages of %d got %d pages, %v, want %v", size, pages, got, want)
			}
		}
		var rest []clientJSON
		a.decode(a.call(http.StatusOK, "GET", "?after=2001:db8::a", ""), &rest)
		if len(rest) != 2 || rest[0].IPAddress != "2001:db8::10" {
			t.Errorf("behind an unknown client come %+v", rest)
		}
	})
}

// listAll follows the Link headers.
func (a *api) listAll(size int) (ids []string, pages int) {
	a.t.Helper()
	for next := fmt.Sprintf("/?limit=%d", size); next != ""; pages++ {
		got := a.call(http.StatusOK, "GET", next, "")
		var page []clientJSON
		a.decode(got, &page)
		ids = append(ids, namesOf(page)...)
		next = ""
		if link := got.header.Get("Link"); link != "" {
			next = strings.TrimSuffix(strings.TrimPrefix(link, "<"+collection), `>; rel="next"`)
			if "<"+collection+next+`>; rel="next"` != link {
				a.t.Fatalf("Link is %q", link)
			}
		}
	}
	return ids, pages
}

func TestListParameters(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for i := range defaultPage + 1 {
		a.create(fmt.Sprintf("10.0.0.%d", i), 5)
	}
	var page []clientJSON
	got := a.call(http.StatusOK, "GET", "/", "")
	a.decode(got, &page)
	if len(page) != defaultPage || got.header.Get("Link") != `</v1/api/clients/?limit=100&after=10.0.0.99>; rel="next"` {
		t.Errorf("by default %d clients and Link %q", len(page), got.header.Get("Link"))
	}
	for _, limit := range []string{"0", "-1", "1001", "ten", "1.5", "", "99999999999999999999"} {
		a.refuse(http.StatusUnprocessableEntity, "limit", "from 1 to 1000", "GET", "/?limit="+limit, "")
	}
	for _, after := range []string{"", "no%20body", "10.0.0.1/8"} {
		a.refuse(http.StatusUnprocessableEntity, "after", "10.0.0.0/8", "GET", "/?after="+after, "")
	}
}

func TestConcurrentCreates(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		const callers = 16
		statuses := make([]int, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				body := fmt.Sprintf(`{"ip_address":"10.0.0.1","capacity":%d,"rate_per_second":1}`, i+1)
				statuses[i] = send(t, "POST", a.base+collection, body).status
			})
		}
		wg.Wait()
		winner := slices.Index(statuses, http.StatusCreated)
		for i, status := range statuses {
			if i != winner && status != http.StatusConflict {
				t.Fatalf("the statuses are %v, want one 201 and else 409", statuses)
			}
		}
		if found := a.get("/10.0.0.1"); found.Capacity != int64(winner+1) {
			t.Errorf("stored is %+v, but caller %d was told 201", found, winner)
		}
		a.limited("10.0.0.1", int64(winner+1))
	})
}

func TestConcurrentChangesAgree(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.create("10.0.0.1", 1)
		var wg sync.WaitGroup
		for caller := range 4 {
			wg.Go(func() {
				for i := range 10 {
					body := fmt.Sprintf(`{"capacity":%d,"rate_per_second":1}`, 1+caller*10+i)
					if got := send(t, "PUT", a.base+collection+"/10.0.0.1", body); got.status != http.StatusOK {
						t.Errorf("PUT is %d %s", got.status, got.body)
					}
				}
			})
		}
		wg.Wait()
		a.limited("10.0.0.1", a.get("/10.0.0.1").Capacity)
	})
}
