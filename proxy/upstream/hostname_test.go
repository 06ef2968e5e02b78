package upstream

import (
	"strings"
	"testing"
)

func TestHostNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("b", 61) // 253 bytes
	for _, host := range []string{
		"a", "a.example", "a.example.", "A-1.example", "_http.a.example", "xn--bcher-kva.example", label, label + ".example.",
		longest, longest + ".", "3f9c1e7ab25d", "1a", "a.1b", "0xyz",
	} {
		if err := CheckHostName(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := ParseURL("http://" + host + ":8100"); err != nil {
			t.Errorf("backend %s: %v", host, err)
		}
	}
	for _, host := range []string{
		".", "..", ".a", "a..b", "a..", label + "a", "a." + label + "a.b", longest + "b", longest + "b.", "bücher.example", "a b", "a\tb",
	} {
		if err := CheckHostName(host); err == nil {
			t.Errorf("CheckHostName accepts %q", host)
		}
		if _, err := ParseURL("http://" + host + ":8100"); err == nil {
			t.Errorf("a backend may have the host %q", host)
		}
	}
	for _, host := range []string{"127.1", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "256.0.0.1", "2130706433", "0x7f000001", "127.0.0.0x1", "1.2.3.4."} {
		if _, err := ParseURL("http://" + host + ":8100"); err == nil || !strings.Contains(err.Error(), "127.0.0.1, or a host name") {
			t.Errorf("backend %s: got %v", host, err)
		}
	}
	for _, host := range []string{"[::1]", "[fe80::1%25eth0]", "[::ffff:127.0.0.1]", "192.0.2.1"} {
		if _, err := ParseURL("http://" + host + ":8100"); err != nil {
			t.Errorf("backend %s: %v", host, err)
		}
	}
}
