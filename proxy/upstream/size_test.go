package upstream

import (
	"math"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "16384": 16384, "16KiB": 16 << 10, "16 KiB": 16 << 10, "8MiB": 8 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40, `"16KiB"`: 16 << 10,
		"9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		var s Size
		if err := yaml.Unmarshal([]byte(text), &s); err != nil || s != want {
			t.Errorf("%s: got %d, %v, want %d", text, s, err, want)
		}
		var again Size
		if err := yaml.Unmarshal([]byte(want.String()), &again); err != nil || again != want {
			t.Errorf("%s, written as %s, is read as %d, %v", text, want, again, err)
		}
	}
	for size, want := range map[Size]string{0: "0", 1023: "1023", 1025: "1025", 16 << 10: "16KiB", 1 << 30: "1GiB", 1 << 50: "1024TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is written as %s, want %s", int64(size), got, want)
		}
	}
	for _, text := range []string{"-1", "-1KiB", "1KB", "1kib", "1.5MiB", "KiB", "1e3", "0x10", "9223372036854775808", "8388608TiB", "[1]", "{a: 1}", `""`, "true", "1KiBMiB", "0100", "010KiB", "00", "1_000", "0o10", "0b1", ".inf"} {
		var s Size
		if err := yaml.Unmarshal([]byte(text), &s); err == nil || !strings.Contains(err.Error(), "16KiB") {
			t.Errorf("%s: got %d, %v", text, s, err)
		}
	}
}
