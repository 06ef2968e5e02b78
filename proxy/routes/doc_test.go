package routes

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docRow matches a row of docs/routing.md about targets and the route of /admin.
var docRow = regexp.MustCompile("(?m)^\\| (`/[^|]*`) \\| (matches|does not match|400) \\|")

// The table of docs/routing.md says what happens.
func TestRoutingDoc(t *testing.T) {
	page, err := os.ReadFile("../../docs/routing.md")
	if err != nil {
		t.Fatal(err)
	}
	table := tableOf(t, Config{Path: "/admin", Pool: "matches"}, Config{Pool: "does not match"})
	targets := 0
	for _, row := range docRow.FindAllStringSubmatch(string(page), -1) {
		for target := range strings.SplitSeq(row[1], ", ") {
			targets++
			if got := found(table, requestOf("GET", "h", strings.Trim(target, "`"))); got != row[2] {
				t.Errorf("%s: the page says %q, and it is %q", target, row[2], got)
			}
		}
	}
	if targets < 15 {
		t.Errorf("the page has %d targets only", targets)
	}
}
