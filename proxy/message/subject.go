package message

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
)

// MaxSubject is the most bytes of what Subject returns.
const MaxSubject = 1 << 10

// Subject returns the subject of a certificate as text of RFC 4514, in visible ASCII characters and
// spaces alone, so that a header field and a log can hold it: every other byte is escaped as \XX. A
// subject over MaxSubject is cut and ends with ;sha256= and a digest of the whole. No other subject
// has a ; that is not escaped, so two subjects never have the same text.
func Subject(c *x509.Certificate) string {
	var names pkix.RDNSequence
	rest, err := asn1.Unmarshal(c.RawSubject, &names)
	if err != nil || len(rest) > 0 {
		return digest(c.RawSubject)
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0 && b.Len() <= MaxSubject; i-- {
		for j, attribute := range names[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			writeAttribute(&b, attribute)
		}
		if i > 0 {
			b.WriteByte(',')
		}
	}
	if b.Len() <= MaxSubject {
		return b.String()
	}
	end := digest(c.RawSubject)
	// Behind a \ the ; would be an escaped one.
	return strings.TrimRight(b.String()[:MaxSubject-len(end)], `\`) + end
}

// digest returns what stands for a subject, or for its end.
func digest(subject []byte) string {
	sum := sha256.Sum256(subject)
	return ";sha256=" + hex.EncodeToString(sum[:])
}

// attributeNames holds the short names of attributes, by their object identifiers (RFC 4514,
// section 3, and the registry of LDAP's descriptors).
var attributeNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.5":                    "SERIALNUMBER",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "STREET",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.17":                   "POSTALCODE",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
}

// writeAttribute writes a type and its value: as text if the type has a short name and the value is
// text, else the value's DER in hexadecimal digits (RFC 4514, section 2.4).
func writeAttribute(b *strings.Builder, a pkix.AttributeTypeAndValue) {
	oid := a.Type.String()
	text, isText := a.Value.(string)
	if name, known := attributeNames[oid]; known && isText {
		b.WriteString(name + "=")
		writeEscaped(b, text)
		return
	}
	der, err := asn1.Marshal(a.Value)
	if err != nil {
		der = fmt.Append(nil, a.Value)
	}
	b.WriteString(oid + "=#" + hex.EncodeToString(der))
}

// writeEscaped writes a value (RFC 4514, section 2.4).
func writeEscaped(b *strings.Builder, value string) {
	for i := range len(value) {
		switch c := value[i]; {
		case c < ' ' || c > '~', c == ' ' && (i == 0 || i == len(value)-1): // a field loses a space at its end
			fmt.Fprintf(b, `\%02X`, c)
		case strings.IndexByte(`"+,;<>\`, c) >= 0, c == '#' && i == 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
}
