package clients

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestListByLabel follows the pages of a filter.
func TestListByLabel(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		var want []string
		for i := range 25 {
			labels := `{"tier":"gold","a/b":"x=y & <z>"}`
			if i%3 != 0 {
				labels = `{"tier":"silver"}`
			} else {
				want = append(want, fmt.Sprintf("10.0.0.%d", i))
			}
			a.call(http.StatusCreated, "POST", "/", fmt.Sprintf(`{"ip_address":"10.0.0.%d","capacity":1,"rate_per_second":1,"labels":%s}`, i, labels))
		}
		a.create("10.0.1.1", 1)
		for _, filter := range []string{"tier=gold", "a/b=x%3Dy+%26+%3Cz%3E"} {
			for _, size := range []int{1, 4, 9, 100} {
				var got []string
				pages := 0
				for next := fmt.Sprintf("/?limit=%d&label=%s", size, filter); next != ""; pages++ {
					page := a.call(http.StatusOK, "GET", next, "")
					var clients []clientJSON
					a.decode(page, &clients)
					got = append(got, namesOf(clients)...)
					next = strings.TrimSuffix(strings.TrimPrefix(page.header.Get("Link"), "<"+collection), `>; rel="next"`)
				}
				if !slices.Equal(got, want) || pages != (len(want)+size-1)/size {
					t.Errorf("%s in pages of %d: got %d pages, %v, want %v", filter, size, pages, got, want)
				}
			}
		}
		for filter, count := range map[string]int{"tier=": 0, "tier=Gold": 0, "none=gold": 0, "tier=silver": 16} {
			var clients []clientJSON
			if a.decode(a.call(http.StatusOK, "GET", "/?label="+filter, ""), &clients); len(clients) != count {
				t.Errorf("%s has %d clients, want %d", filter, len(clients), count)
			}
		}
		for _, filter := range []string{"", "tier", "=gold", "a%20b=c"} {
			a.refuse(http.StatusUnprocessableEntity, "label", "name=value", "GET", "/?label="+filter, "")
		}
	})
}
