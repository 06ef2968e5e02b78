package message

import (
	"testing"

	"loadbalancer/proxy/reason"
)

func TestBinds(t *testing.T) {
	for _, test := range []struct {
		fields string
		want   bool
	}{
		{"", false},
		{"Authorization: NTLM TlRMTVNTUAAB\r\n", true},
		{"authorization: ntlm TlRMTVNTUAAB\r\n", true},
		{"Authorization: Negotiate YII\r\n", true},
		{"Authorization:\tnegotiate\r\n", true},
		{"Authorization: Nego2 x\r\n", true},
		{"Authorization: Basic bnRsbTpuZWdv\r\nAuthorization: Negotiate YII\r\n", true},
		{"Authorization: Basic bnRsbTpuZWdv\r\n", false},
		{"Authorization: Bearer ntlm\r\n", false},
		{"Authorization:\r\n", false},
		{"Proxy-Authorization: NTLM TlRMTVNTUAAB\r\n", false},
		{"X-Authorization: NTLM TlRMTVNTUAAB\r\n", false},
	} {
		for _, key := range []string{"", "authorization"} {
			r := Request{Method: []byte("GET"), Target: []byte("/"), Proto: []byte("HTTP/1.1"), Header: []byte("Host: h\r\n" + test.fields)}
			if r.Guard(&Rules{KeyField: key}) != reason.None {
				continue // the API key's field came twice
			}
			if r.Binds != test.want {
				t.Errorf("%q: %v", test.fields, r.Binds)
			}
		}
	}
}
