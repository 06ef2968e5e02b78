package message

import (
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestClientIPHeaderNames(t *testing.T) {
	for _, name := range []string{"X-Forwarded-For", "x-forwarded-for", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "client_ip", "X", strings.Repeat("a", 64)} {
		var h ClientIPHeader
		if err := yaml.Unmarshal([]byte(name), &h); err != nil || string(h) != name {
			t.Errorf("%q: got %q, %v", name, h, err)
		}
	}
	refused := []string{"", " ", "X Real IP", "X-Real-IP:", "Schlüssel", "a,b", "[X-Real-IP]", "{a: b}", strings.Repeat("a", 65),
		"Forwarded", "X-Forwarded-Client-IP", "X_Forwarded_For", "X-Forwarded_For", "X_Real_IP", "Cookie", "Via", "content_length"}
	for name, kind := range kinds {
		if kind != kindForwardedFor && kind != kindRealIP && !kind.ordinary() {
			refused = append(refused, name, strings.ToUpper(name))
		}
	}
	for _, name := range refused {
		text := fmt.Sprintf("%q", name)
		if strings.HasPrefix(name, "[") || strings.HasPrefix(name, "{") {
			text = name
		}
		var h ClientIPHeader
		if err := yaml.Unmarshal([]byte(text), &h); err == nil || h != "" {
			t.Errorf("%q was accepted", name)
		}
	}
}
