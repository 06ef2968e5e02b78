package message

import "testing"

func TestFind(t *testing.T) {
	header := "Host: a\r\nX-Tenant:  one \r\nCookie: a=1; lb=x;lbx=no; b=2\r\nx-tenant: two\r\ncookie: c=3;  d=\r\nEmpty:\r\n\r\n"
	r := Request{Header: []byte(header)}
	for name, want := range map[string]string{"host": "a", "x-tenant": "one", "cookie": "a=1; lb=x;lbx=no; b=2", "empty": "", "tenant": "", "x-tenan": ""} {
		if got := string(r.Field(name)); got != want {
			t.Errorf("field %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"a": "1", "lb": "x", "lbx": "no", "b": "2", "c": "3", "d": "", "l": "", "x": "", "LB": "", "": ""} {
		if got := string(r.Cookie(name)); got != want {
			t.Errorf("cookie %s is %q, want %q", name, got, want)
		}
	}
	for _, odd := range []string{"", "lb", "=", ";", ";;lb", "lb ; =lb", " lb = x"} {
		if got := cookie([]byte(odd), "lb"); got != nil {
			t.Errorf("%q has the cookie %q", odd, got)
		}
	}
}
