package message

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
)

// subjectOf returns the text of a subject, which goes through DER.
func subjectOf(t testing.TB, names pkix.RDNSequence) string {
	t.Helper()
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return Subject(&x509.Certificate{RawSubject: der})
}

// attribute returns one that stands alone.
func attribute(oid asn1.ObjectIdentifier, value any) pkix.RelativeDistinguishedNameSET {
	return pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}}
}

var (
	oidCN   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOU   = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidDC   = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	oidMail = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	oidOwn  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
)

func TestSubject(t *testing.T) {
	type names = pkix.RDNSequence
	for _, test := range []struct {
		names names
		want  string
	}{
		{nil, ""},
		{names{attribute(oidCN, "team-a")}, "CN=team-a"},
		{names{attribute(oidDC, "example"), attribute(oidOU, "x"), attribute(oidCN, "team a")}, "CN=team a,OU=x,DC=example"},
		{names{{{Type: oidOU, Value: "x"}, {Type: oidCN, Value: "y"}}, attribute(oidCN, "z")}, "CN=z,CN=y+OU=x"},
		{names{attribute(oidMail, "a@example.com")}, "emailAddress=a@example.com"},
		{names{attribute(oidCN, `a,b+c"d\e<f>g;h=i#j`)}, `CN=a\,b\+c\"d\\e\<f\>g\;h=i#j`},
		{names{attribute(oidCN, "#a")}, `CN=\#a`},
		{names{attribute(oidCN, " a ")}, `CN=\20a\20`},
		{names{attribute(oidCN, "a\r\nX-Client-Subject: CN=admin\x00\t\x7f")}, `CN=a\0D\0AX-Client-Subject: CN=admin\00\09\7F`},
		{names{attribute(oidCN, "Zoë")}, `CN=Zo\C3\AB`},
		{names{attribute(oidCN, "a,CN=admin")}, `CN=a\,CN=admin`},
		{names{attribute(oidOwn, "a")}, "1.3.6.1.4.1.99999.1=#130161"},
		{names{attribute(oidCN, 7)}, "2.5.4.3=#020107"},
	} {
		if got := subjectOf(t, test.names); got != test.want {
			t.Errorf("%v: %q, want %q", test.names, got, test.want)
		}
	}
}

// Plain subjects have the text that the standard library gives them.
func TestSubjectIsThatOfTheStandardLibrary(t *testing.T) {
	name := pkix.Name{
		CommonName: "team a", Organization: []string{"Example, Inc."}, OrganizationalUnit: []string{"one", "two"}, Country: []string{"CH"},
		Locality: []string{"Zurich"}, Province: []string{"ZH"}, StreetAddress: []string{"1 Main St"}, PostalCode: []string{"8000"}, SerialNumber: "12",
	}
	if got := subjectOf(t, name.ToRDNSequence()); got != name.String() {
		t.Errorf("got %q, want %q", got, name.String())
	}
}

// A subject of any length is bounded, and is no other's.
func TestLongSubject(t *testing.T) {
	seen := map[string]string{}
	for n := MaxSubject - 100; n < MaxSubject+100; n++ {
		for _, value := range []string{strings.Repeat("a", n), strings.Repeat(`\`, n), strings.Repeat("\x01", n), strings.Repeat("a", n) + ";", strings.Repeat(" ", n)} {
			got := subjectOf(t, pkix.RDNSequence{attribute(oidCN, value)})
			if len(got) > MaxSubject || strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("%d bytes: %q", len(got), got)
			}
			if other, twice := seen[got]; twice {
				t.Fatalf("%q and %q are both %q", other, value, got)
			}
			seen[got] = value
			if i := strings.Index(got, ";sha256="); i > 0 && got[i-1] == '\\' {
				t.Fatalf("the digest of %q is part of the name", got)
			}
		}
	}
}

func TestSubjectThatIsNoName(t *testing.T) {
	a, b := Subject(&x509.Certificate{RawSubject: []byte{1, 2, 3}}), Subject(&x509.Certificate{RawSubject: []byte{1, 2, 4}})
	if !strings.HasPrefix(a, ";sha256=") || a == b {
		t.Errorf("got %q and %q", a, b)
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("team-a")
	f.Add("\r\n\x00\\,")
	f.Fuzz(func(t *testing.T, value string) {
		got := subjectOf(t, pkix.RDNSequence{{{Type: oidCN, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(value)}}}})
		if len(got) > MaxSubject || !Value.HasAll([]byte(got)) || strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%q: %q", value, got)
		}
	})
}
