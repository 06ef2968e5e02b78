package clients

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

func TestSearch(t *testing.T) {
	address := func(text string) store.Client {
		prefix, _ := parsePrefix(text)
		return store.Client{ID: limiter.ID{Prefix: prefix}}
	}
	named := store.Client{
		ID:     limiter.ID{Name: "Acme.Example"},
		Keys:   []store.Key{{ID: "2026-01"}, {ID: "Spare"}},
		Plan:   "gold",
		Labels: map[string]string{"Team": "Größe <B>"},
	}
	for _, tt := range []struct {
		client    store.Client
		finds, no []string
	}{
		{named,
			[]string{"Acme.Example", "acme", "ME.EX", "2026-01", "26-", "spare", "TEAM", "team=größe <b>", "GRÖßE", "m=g", "<b>"},
			[]string{"acme ", "gold", "acme2026", "exampleteam", "team: größe", "192.0.2.7", "::", "\xff"}},
		{address("192.0.2.7"),
			[]string{"192.0.2.7", "2.7", ".", "::ffff:192.0.2.7", "::FFFF:c000:207"},
			[]string{"192.0.2.70", "192.0.2.8", "192.0.2.7/32", "192.0.2.0/24", ":"}},
		{address("192.0.2.0/24"),
			[]string{"192.0.2.0/24", "/24", "192.0.2.0", "192.0.2.7", "192.0.2.255", "::ffff:192.0.2.7"},
			[]string{"192.0.3.7", "192.0.2.7/32", "192.0.2.07", "192.0.2.7 ", "2.7", "::c000:207", "x"}},
		{address("2001:db8::/32"),
			[]string{"2001:DB8::", "db8", "2001:db8:0::7", "2001:0DB8:ffff::"},
			[]string{"2001:db9::", "db8::7", "2001:db8::7%eth0", "192.0.2.7"}},
		{address("0.0.0.0/0"), []string{"203.0.113.9"}, []string{"2001:db8::7", "203.0.113"}},
	} {
		for i, texts := range [][]string{tt.finds, tt.no} {
			for _, text := range texts {
				s, err := parseSearch(text)
				if got, want := s.on(&tt.client), i == 0; got != want || err != nil {
					t.Errorf("%q on %s: got %t, %v", text, tt.client.ID, got, err)
				}
			}
		}
		if !(&search{}).on(&tt.client) {
			t.Errorf("the zero search is not on %s", tt.client.ID)
		}
	}
}

// TestLongestSearch searches for what may be longest of a client.
func TestLongestSearch(t *testing.T) {
	long := strings.Repeat("a", store.MaxLabel)
	for _, text := range []string{strings.Repeat("a", store.MaxName), long + "=" + long, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"} {
		if _, err := parseSearch(text); err != nil {
			t.Error(err)
		}
	}
	if _, err := parseSearch(strings.Repeat("a", maxSearch+1)); err == nil {
		t.Errorf("%d bytes are searched for", maxSearch+1)
	}
}

// TestListBySearch follows the pages of a search, with and without a label.
func TestListBySearch(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	var found, labelled []string
	for i := range 30 {
		name := fmt.Sprintf("shop-%02d", i)
		body := fmt.Sprintf(`{"name":%q,"api_keys":[{"id":"k%d","api_key":"key-number-%d"}],"capacity":1,"rate_per_second":1,"labels":{"tier":"%d","note":"a & b=c"}}`, name, i, i, i%2)
		a.call(http.StatusCreated, "POST", "/", body)
		if i >= 10 && i < 20 {
			found = append(found, name)
			if i%2 == 0 {
				labelled = append(labelled, name)
			}
		}
	}
	a.create("198.51.100.0/24", 1)
	a.create("198.51.100.8", 1)
	list := func(query string) (names []string, pages int) {
		for next := "/?" + query; next != ""; pages++ {
			page := a.call(http.StatusOK, "GET", next, "")
			var clients []clientJSON
			a.decode(page, &clients)
			names = append(names, namesOf(clients)...)
			next = strings.TrimSuffix(strings.TrimPrefix(page.header.Get("Link"), "<"+collection), `>; rel="next"`)
		}
		return names, pages
	}
	for _, tt := range []struct {
		query string
		want  []string
		pages int
	}{
		{"search=SHOP-1&limit=4", found, 3},
		{"search=SHOP-1&limit=10", found, 1},
		{"search=SHOP-1&label=tier=0&limit=2", labelled, 3},
		{"search=a+%26+b%3Dc&label=tier=0&after=shop-09&limit=3", append(slices.Clone(labelled), "shop-20", "shop-22", "shop-24", "shop-26", "shop-28"), 4},
		{"search=k29", []string{"shop-29"}, 1},
		{"search=198.51.100.7", []string{"198.51.100.0/24"}, 1},
		{"search=198.51.100.8", []string{"198.51.100.0/24", "198.51.100.8"}, 1},
		{"search=none", nil, 1},
	} {
		if got, pages := list(tt.query); !slices.Equal(got, tt.want) || pages != tt.pages {
			t.Errorf("%s: got %d pages, %v, want %d, %v", tt.query, pages, got, tt.pages, tt.want)
		}
	}
	for _, text := range []string{"", strings.Repeat("a", 129), strings.Repeat("%C3%A4", 65)} {
		a.refuse(http.StatusUnprocessableEntity, "search", "a text of 1 to 128 bytes", "GET", "/?search="+text, "")
	}
	a.refuse(http.StatusUnprocessableEntity, "search", "twice", "GET", "/?search=a&search=a", "")
}
