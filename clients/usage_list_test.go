package clients

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// usageAll follows the pages of the usage and returns "client rejections" of each.
func (a *api) usageAll(query string) (all []string, pages int) {
	a.t.Helper()
	for next := usagePath + query; next != ""; pages++ {
		got := a.call(http.StatusOK, "GET", next, "")
		var page []clientUsageJSON
		a.decode(got, &page)
		for _, u := range page {
			all = append(all, fmt.Sprintf("%s %d", u.Client, u.Limited+u.ShadowLimited))
		}
		next = strings.TrimSuffix(strings.TrimPrefix(got.header.Get("Link"), "<"), `>; rel="next"`)
	}
	return all, pages
}

func TestUsageOfAll(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		if got, _ := a.usageAll(""); len(got) > 0 {
			t.Errorf("without clients the usage is %v", got)
		}
		const slow = `,"capacity":1,"rate_per_second":0.001`
		for i, requests := range []int{1, 4, 2, 2, 9} {
			addr := fmt.Sprintf("10.0.0.%d", i+1)
			a.call(http.StatusCreated, "POST", "/", `{"ip_address":"`+addr+`"`+slow+`}`)
			for range requests {
				admit(a.limiter, addr, "")
			}
		}
		a.call(http.StatusCreated, "POST", "/", `{"ip_address":"10.0.0.9","expires_at":"2001-01-01T00:00:00Z"`+slow+`}`)
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_key":"the key of acme","shadow":true`+slow+`}`)
		for range 6 {
			admit(a.limiter, "192.0.2.1", "the key of acme")
		}
		byName := []string{"10.0.0.1 0", "10.0.0.2 3", "10.0.0.3 1", "10.0.0.4 1", "10.0.0.5 8", "acme 5"}
		byRejections := []string{"10.0.0.5 8", "acme 5", "10.0.0.2 3", "10.0.0.3 1", "10.0.0.4 1", "10.0.0.1 0"}
		for _, size := range []int{1, 2, 5, 6, 100} {
			for query, want := range map[string][]string{"": byName, "&sort=name": byName, "&sort=rejections": byRejections} {
				got, pages := a.usageAll(fmt.Sprintf("?limit=%d%s", size, query))
				if !slices.Equal(got, want) || pages != (len(want)+size-1)/size {
					t.Errorf("%s in pages of %d: got %d pages, %v, want %v", query, size, pages, got, want)
				}
			}
		}
		for query, field := range map[string]string{
			"limit=0": "limit", "limit=1001": "limit", "sort=": "sort", "sort=allowed": "sort", "after=a%20b": "after",
			"sort=rejections&after=acme": "after", "sort=rejections&after=5,": "after", "sort=rejections&after=x,acme": "after",
			"sort=rejections&after=-1,acme": "after", "after=5,acme": "after",
		} {
			a.refuse(http.StatusUnprocessableEntity, field, "", "GET", usagePath+"?"+query, "")
		}
	})
}
