package main

import (
	"reflect"
	"testing"

	"loadbalancer/proxy"
)

// Of two alternatives one is at fault: then the other is not missing too.
func TestAlternativeAtFault(t *testing.T) {
	type alternatives struct {
		A     *proxy.Size `yaml:"a"`
		B     *proxy.Size `yaml:"b"`
		Other string      `yaml:"other"`
	}
	for text, want := range map[string]string{
		"a: much": "lb.yaml:1: other is missing: use a text\n" +
			"lb.yaml:1: a: much is invalid: use a size in decimal digits without a leading zero: 16KiB, 8MiB, 1GiB or a number of bytes",
		"a: 1": "lb.yaml:1: b is missing: use a size\nlb.yaml:1: other is missing: use a text",
	} {
		doc, err := readDocument("lb.yaml", []byte(text), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		doc.check(doc.root, reflect.TypeFor[alternatives](), "")
		doc.wrong("b", "", "a size")
		doc.wrong("other", "", "a text")
		if err := doc.err(); err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
}
