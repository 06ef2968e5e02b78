package clients

import (
	"fmt"
	"slices"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// The fields of an entry of api_keys beside api_key and expires_at.
const (
	fieldKeyID  = "id"
	fieldSHA256 = "sha256"
)

// keyFields are those of an entry of api_keys; created_at is read-only.
var keyFields = []string{fieldKeyID, fieldKey, fieldSHA256, fieldCreated, fieldExpires}

// minKey is the length of the shortest key in bytes. It admits "Bearer abc": making keys hard to
// guess is up to the operator.
const minKey = 8

var allowedKey = fmt.Sprintf("a string of %d to %d visible ASCII characters, inside which there may be single spaces",
	minKey, limiter.MaxKeySize)

const allowedKeyID = "1 to 32 letters, digits and '-'"

// decodeKeys decodes api_key, the short form, or api_keys. It returns nil if the body has neither.
// Its errors never contain a key.
func decodeKeys(o rest.Object) (*[]draftKey, error) {
	_, short := o.Value(fieldKey)
	_, list := o.Value(fieldKeys)
	switch {
	case short && list:
		return nil, &rest.Fault{Code: rest.Invalid, Field: fieldKey,
			Message: fmt.Sprintf("%s and %s are both set; allowed is one of the two", fieldKey, fieldKeys)}
	case short:
		digest, err := decodeKey(o)
		return &[]draftKey{{digest: digest}}, err
	case list:
		return decodeKeyList(o)
	}
	return nil, nil
}

func decodeKeyList(o rest.Object) (*[]draftKey, error) {
	entries, err := o.Objects(fieldKeys, keyFields...)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 || len(entries) > limiter.MaxKeys {
		return nil, rest.Wrong(fieldKeys, fmt.Sprintf("a list of %d", len(entries)), fmt.Sprintf("a list of 1 to %d keys", limiter.MaxKeys))
	}
	keys := make([]draftKey, 0, len(entries))
	for _, entry := range entries {
		key, err := decodeKeyEntry(entry)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return &keys, nil
}

// decodeKeyEntry decodes an entry of api_keys, or the body of a POST of one key.
func decodeKeyEntry(o rest.Object) (k draftKey, err error) {
	_, k.expires = o.Value(fieldExpires) // null ends the expiry
	o.DropNulls(fieldKeyID, fieldKey, fieldSHA256, fieldExpires)
	if _, found := o.Value(fieldKeyID); found {
		var ok bool
		if k.id, ok = o.Text(fieldKeyID); !ok || !isKeyID(k.id) {
			return draftKey{}, o.Wrong(fieldKeyID, allowedKeyID)
		}
	}
	if k.expiresAt, err = decodeTime(o, fieldExpires); err != nil {
		return draftKey{}, err
	}
	_, plain := o.Value(fieldKey)
	_, hashed := o.Value(fieldSHA256)
	switch {
	case plain && hashed:
		return draftKey{}, &rest.Fault{Code: rest.Invalid, Field: o.Path(fieldSHA256),
			Message: fmt.Sprintf("%s and %s are both set; allowed is one of the two", fieldSHA256, fieldKey)}
	case plain:
		k.digest, err = decodeKey(o)
	case hashed:
		text, _ := o.Text(fieldSHA256)
		digest, ok := parseDigest(text)
		if k.digest = digest; !ok {
			return draftKey{}, rest.Wrong(o.Path(fieldSHA256), "no such text", "64 hexadecimal digits, the SHA-256 of the key")
		}
	case k.id == "":
		return draftKey{}, o.Missing(fieldKey)
	}
	return k, err
}

// decodeKey decodes the API key. Its errors never contain the key.
func decodeKey(o rest.Object) (limiter.KeyDigest, error) {
	text, ok := o.Text(fieldKey)
	if !ok {
		return limiter.KeyDigest{}, rest.Wrong(o.Path(fieldKey), "no string", allowedKey)
	}
	if !isKey(text) {
		return limiter.KeyDigest{}, rest.Wrong(o.Path(fieldKey), fmt.Sprintf("a string of %d bytes that cannot be a key", len(text)), allowedKey)
	}
	return limiter.DigestKey([]byte(text)), nil
}

// isKey reports whether the text is a valid API key, which every proxy passes on unchanged in a
// header field (RFC 9110, section 5.5). Spaces are allowed for schemes, as in "Bearer abc".
func isKey(text string) bool {
	if len(text) < minKey || len(text) > limiter.MaxKeySize {
		return false
	}
	for i := range len(text) {
		switch b := text[i]; {
		case '!' <= b && b <= '~':
		case b == ' ' && i > 0 && text[i-1] != ' ' && i < len(text)-1:
		default:
			return false
		}
	}
	return true
}

func isKeyID(text string) bool {
	return len(text) >= 1 && len(text) <= 32 && !slices.ContainsFunc([]byte(text), func(b byte) bool {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-':
			return false
		}
		return true
	})
}
