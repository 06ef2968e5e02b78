package message

import (
	"bytes"
	"strings"
	"testing"
)

// kinds holds every field name that the proxy knows.
var kinds = map[string]kind{
	"te":                    kindTE,
	"trailer":               kindTrailer,
	"upgrade":               kindUpgrade,
	"keep-alive":            kindKeepAlive,
	"proxy-connection":      kindHopByHop,
	"proxy-authenticate":    kindHopByHop,
	"proxy-authorization":   kindHopByHop,
	"connection":            kindConnection,
	"content-length":        kindContentLength,
	"transfer-encoding":     kindTransferEncoding,
	"host":                  kindHost,
	"expect":                kindExpect,
	"x-forwarded-for":       kindForwardedFor,
	"x-forwarded-proto":     kindForwardedProto,
	"x-forwarded-host":      kindForwardedHost,
	"forwarded":             kindForwarded,
	"x-forwarded-port":      kindForwarded,
	"x-forwarded-prefix":    kindForwarded,
	"x-forwarded-f":         kindForwarded,
	"x-real-ip":             kindRealIP,
	"authorization":         kindAuthorization,
	"idempotency-key":       kindIdempotencyKey,
	"x-request-id":          kindRequestID,
	"ratelimit":             kindRateLimit,
	"ratelimit-policy":      kindRateLimit,
	"x-ratelimit-limit":     kindLegacyRateLimit,
	"x-ratelimit-remaining": kindLegacyRateLimit,
	"x-ratelimit-reset":     kindLegacyRateLimit,
}

func TestKindOf(t *testing.T) {
	for name, want := range kinds {
		for _, spelt := range spellings(name) {
			if got := kindOf([]byte(spelt)); got != want {
				t.Errorf("kindOf(%q) = %d, want %d", spelt, got, want)
			}
		}
	}
}

// spellings are the name in lower case, in upper case, and with one letter of each.
func spellings(name string) []string {
	upper := strings.ToUpper(name)
	all := []string{name, upper}
	for i := range name {
		all = append(all, name[:i]+upper[i:i+1]+name[i+1:], upper[:i]+name[i:i+1]+upper[i+1:])
	}
	return all
}

// A name that differs in one byte from a known one is another name; among them are the bytes that a
// comparison by bit 0x20 alone would take for a letter.
func TestKindOfOtherNames(t *testing.T) {
	for name := range kinds {
		if kinds[name] == kindForwarded && name != "forwarded" {
			continue // every x-forwarded- name is known
		}
		for i := range name {
			for _, c := range []byte{name[i] ^ 0x80, name[i] ^ 0x01, name[i] ^ 0x40, '_'} {
				other := name[:i] + string([]byte{c}) + name[i+1:]
				if _, known := kinds[strings.ToLower(other)]; known || strings.HasPrefix(other, "x-forwarded-") {
					continue
				}
				if got := kindOf([]byte(other)); got != kindOther {
					t.Errorf("kindOf(%q) = %d, want kindOther", other, got)
				}
			}
		}
	}
	for _, name := range []string{"", "x", "cookie", "x-forwarded-", "x-forwarded", "contentlength", "te ", " te"} {
		if got := kindOf([]byte(name)); got != kindOther {
			t.Errorf("kindOf(%q) = %d, want kindOther", name, got)
		}
	}
}

func TestNextField(t *testing.T) {
	for _, test := range []struct {
		block, line, name, value, rest string
	}{
		{"A: b\r\nC: d\r\n\r\n", "A: b\r\n", "A", "b", "C: d\r\n\r\n"},
		{"A:\r\n", "A:\r\n", "A", "", ""},
		{"A:  \t b c\t \r\n", "A:  \t b c\t \r\n", "A", "b c", ""},
		{"A:b:c\r\n", "A:b:c\r\n", "A", "b:c", ""},
		{"!#$%&'*+-.^_`|~09azAZ: \x80\xff\r\n", "!#$%&'*+-.^_`|~09azAZ: \x80\xff\r\n", "!#$%&'*+-.^_`|~09azAZ", "\x80\xff", ""},
		{"\r\n", "", "", "", ""},
		{"", "", "", "", ""},
	} {
		f, rest, ok := nextField([]byte(test.block), Value)
		if !ok || string(f.line) != test.line || string(f.name) != test.name || string(f.value) != test.value || string(rest) != test.rest {
			t.Errorf("nextField(%q) = line %q, name %q, value %q, rest %q, %v", test.block, f.line, f.name, f.value, rest, ok)
		}
	}
}

func TestNextFieldRefuses(t *testing.T) {
	refused := []string{
		"A: b\n", "A: b", "A: b\r", "\n", "\r", "A: b\nC: d\r\n", "\r\nA: b\r\n",
		"A : b\r\n", "A\t: b\r\n", ": b\r\n", "A\r\n", "A b: c\r\n", " A: b\r\n", "\tA: b\r\n", "\xc4: b\r\n",
		"A: b\rc\r\n", "A: \r\r\n", "A: b\x00\r\n", "A: b\x7f\r\n",
	}
	for c := range byte(0x80) {
		if c != '\t' && c < ' ' || c == 0x7f {
			refused = append(refused, "A: b"+string(rune(c))+"c\r\n")
		}
		if strings.IndexByte("()<>@,;\\\"/[]?={} \t", c) >= 0 {
			refused = append(refused, "A"+string(rune(c))+": b\r\n")
		}
	}
	for _, block := range refused {
		if f, _, ok := nextField([]byte(block), Value); ok {
			t.Errorf("nextField(%q) took the field %q", block, f.line)
		}
	}
}

func TestLists(t *testing.T) {
	for _, test := range []struct {
		connection, name string
		want             bool
	}{
		{"X-A", "x-a", true},
		{"close, X-A", "X-A", true},
		{"X-B ,\tX-A\t,close", "x-A", true},
		{",,X-A,", "X-A", true},
		{"X-AB", "X-A", false},
		{"X", "X-A", false},
		{"X-A X-B", "X-A", false},
		{"", "X-A", false},
		{",", "", true},
	} {
		if got := lists([]byte(test.connection), []byte(test.name)); got != test.want {
			t.Errorf("lists(%q, %q) = %v", test.connection, test.name, got)
		}
	}
}

// What frames, routes or authorises a message is never dropped because a client
// names it in Connection.
func TestHopDrops(t *testing.T) {
	var h hop
	names := []string{"cookie", "X-Trace"}
	for name := range kinds {
		names = append(names, name)
	}
	if !h.add([]byte(strings.Join(names, ", "))) {
		t.Fatal("one Connection field was refused")
	}
	drops := func(name string) bool {
		return h.drops(&field{name: []byte(name), kind: kindOf([]byte(name))})
	}
	for name := range kinds {
		for _, spelt := range spellings(name) {
			if got, want := drops(spelt), name == "trailer" || kinds[name].ordinary(); got != want { // Trailer only announces
				t.Errorf("%s is dropped: %v, want %v", spelt, got, want)
			}
		}
	}
	if !drops("Cookie") || !drops("x-trace") {
		t.Error("an ordinary field that Connection names is not dropped")
	}
	if drops("X-Other") {
		t.Error("a field that Connection does not name is dropped")
	}
}

func TestHopAdd(t *testing.T) {
	var h hop
	for _, plain := range []string{"close", "Close", "keep-alive", "KEEP-ALIVE"} {
		if !h.add([]byte(plain)) || h.n != 0 {
			t.Errorf("%s takes a place", plain)
		}
	}
	for i := range len(h.values) {
		if !h.add([]byte("X-A")) {
			t.Errorf("option %d was refused", i+1)
		}
	}
	if h.add([]byte("X-A")) {
		t.Error("more options than there is room for were accepted")
	}
	if !h.add([]byte("close")) {
		t.Error("close was refused because there was no room")
	}
	h = hop{}
	for _, size := range []int{maxHopValues, maxHopValues + 1} {
		if ok := h.add(bytes.Repeat([]byte(","), size)); ok != (size <= maxHopValues) {
			t.Errorf("%d bytes: accepted %v", size, ok)
		}
		h = hop{}
	}
}

func TestParseLength(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "7": 7, "00042": 42, "999999999999999999": 999999999999999999} {
		if got, ok := parseLength([]byte(text)); !ok || got != want {
			t.Errorf("parseLength(%q) = %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "+1", " 1", "1 ", "1,1", "0x1", "1e3", "1.0", "1000000000000000000", "٣", strings.Repeat("0", 19)} {
		if n, ok := parseLength([]byte(text)); ok {
			t.Errorf("parseLength(%q) = %d, want it refused", text, n)
		}
	}
}

func TestTrimSpace(t *testing.T) {
	for in, want := range map[string]string{"": "", " \t ": "", " a b\t": "a b", "\ra\n": "\ra\n", "\u00a0a": "\u00a0a"} {
		if got := trimSpace([]byte(in)); !bytes.Equal(got, []byte(want)) {
			t.Errorf("trimSpace(%q) = %q, want %q", in, got, want)
		}
	}
}
