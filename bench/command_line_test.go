package main

import (
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--url=http://h/?a=1", "--header=X: it's", "--json"}, `bench '--url=http://h/?a=1' '--header=X: it'\''s' --json`},
		{[]string{"--header=Authorization: Bearer abc", "-header=X-API-Key:abc"}, `bench '--header=Authorization: …' '-header=X-API-Key: …'`},
		{[]string{"--header", "Cookie: a=abc", "-header", "X: 1"}, `bench --header 'Cookie: …' -header 'X: 1'`},
		{[]string{"--body", "key: 1"}, `bench --body 'key: 1'`},
	} {
		if got := commandLine(tt.args); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", strings.Join(tt.args, " "), got, tt.want)
		}
	}
}
