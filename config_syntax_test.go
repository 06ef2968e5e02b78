package main

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// inUTF16 is a text in UTF-16 with a byte order mark.
func inUTF16(text string, order binary.AppendByteOrder) []byte {
	var encoded []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		encoded = order.AppendUint16(encoded, unit)
	}
	return encoded
}

// A file is read in every common encoding, and its faults are reported with their lines.
func TestConfigEncodings(t *testing.T) {
	const valid = "pools:\n  main:\n    backends:\n      - url: http://127.0.0.1:8100\nserver:\n  via: Grüße\n"
	good := strings.Replace(valid, "via: Grüße", "max_connections: 5 # Grüße", 1)
	bad := strings.Replace(valid, "via: Grüße", "max_connections: Grüße", 1)
	broken := strings.Replace(valid, "via: Grüße", "\tmax_connections: 5", 1)
	for name, encode := range map[string]func(string) []byte{
		"UTF-8":            func(s string) []byte { return []byte(s) },
		"byte order mark":  func(s string) []byte { return []byte("\ufeff" + s) },
		"CRLF":             func(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) },
		"both":             func(s string) []byte { return []byte("\ufeff" + strings.ReplaceAll(s, "\n", "\r\n")) },
		"UTF-16LE":         func(s string) []byte { return inUTF16(s, binary.LittleEndian) },
		"UTF-16BE":         func(s string) []byte { return inUTF16(s, binary.BigEndian) },
		"UTF-16 with CRLF": func(s string) []byte { return inUTF16(strings.ReplaceAll(s, "\n", "\r\n"), binary.LittleEndian) },
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := parseConfig("lb.yaml", encode(good), environment(nil)); err != nil || c.Server.MaxConnections != 5 {
				t.Errorf("got %d, %v", c.Server.MaxConnections, err)
			}
			_, err := parseConfig("lb.yaml", encode(bad), environment(nil))
			if want := "lb.yaml:6: server.max_connections: Grüße is invalid: use a whole number"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			_, err = parseConfig("lb.yaml", encode(broken), environment(nil))
			if want := "lb.yaml:6: a tab in the indentation: use spaces"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	for name, text := range map[string][]byte{
		"UTF-16 without a mark": inUTF16(valid, binary.LittleEndian)[2:],
		"half of UTF-16":        inUTF16(valid, binary.LittleEndian)[:41],
	} {
		if _, err := parseConfig("lb.yaml", text, environment(nil)); err == nil || !strings.HasPrefix(err.Error(), "lb.yaml:") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Tabs are refused as indentation only.
func TestConfigTabsElsewhere(t *testing.T) {
	text := "pools:\t# a\n  main:\n    backends:\n      - url:\thttp://127.0.0.1:8100\t# b\n    \n" +
		"clients:\n  store: \"file:a\tb\"\n"
	c, err := parseConfig("lb.yaml", []byte(text), environment(nil))
	if err != nil || len(c.Pools["main"].Backends) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// The reported line is that of the fault, whatever stands before and after it.
func TestSyntaxFaultInALongFile(t *testing.T) {
	var text strings.Builder
	text.WriteString("pools:\n  main:\n    backends:\n")
	for range 500 {
		text.WriteString("      - url: http://127.0.0.1:8100\n        weight: 2\n")
	}
	text.WriteString("     weight: 3\n")
	for range 500 {
		text.WriteString("      - url: http://127.0.0.1:8100\n        weight: 2\n")
	}
	_, err := parseConfig("lb.yaml", []byte(text.String()), environment(nil))
	if err == nil || !strings.HasPrefix(err.Error(), "lb.yaml:1004: ") {
		t.Errorf("got %v, want line 1004", err)
	}
}
