package limiter

import (
	"crypto/sha256"
	"strings"
	"testing"
)

func TestDigestKey(t *testing.T) {
	long := "Bearer " + strings.Repeat("K", MaxKeySize-len("Bearer "))
	for key, want := range map[string]string{
		"":                     "",
		"AbC":                  "AbC",
		"Bearer AbC":           "bearer AbC",
		"bearer AbC":           "bearer AbC",
		"BEARER    AbC":        "bearer AbC",
		"Digest A=b,  C=\"D\"": "digest A=b,  C=\"D\"",
		"Bearer\tAbC":          "Bearer\tAbC",
		"Bearer ":              "bearer ",
		" AbC":                 " AbC",
		long:                   "b" + long[1:],
		long + "K":             long + "K",
	} {
		if DigestKey([]byte(key)) != sha256.Sum256([]byte(want)) {
			t.Errorf("the digest of %q is not that of %q", key, want)
		}
	}
}
