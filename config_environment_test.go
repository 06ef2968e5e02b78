package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestExpandText(t *testing.T) {
	lookup := environment(map[string]string{
		"A": "a", "EMPTY": "", "BRACES": "}{", "DOLLARS": "${A}${", "LINES": "x\ny",
	})
	for text, want := range map[string]string{
		"plain":                           "plain",
		"${A}":                            "a",
		"x${A}y${A}z":                     "xayaz",
		"${A:-x}":                         "a",
		"${B:-x}":                         "x",
		"${EMPTY:-x}":                     "x",
		"${B:-${A}}":                      "a",
		"${B:-${C:-x}}":                   "x",
		"${B:-${C:-${D:-${E:-${A}}}}}":    "a",
		"${B:-1${A}2${C:-3}4}5":           "1a2345",
		"${A:-${B}}":                      "a", // the default is not needed
		"${A:-${B:-${C}}}":                "a",
		"${B:-}":                          "",
		"${B:-${EMPTY:-}}":                "",
		"${B:-a:-b}":                      "a:-b",
		"${B:-{x: {y: ${A}}}}":            "{x: {y: a}}",
		"{${A}}":                          "{a}",
		"${BRACES}":                       "}{",
		"${DOLLARS}":                      "${A}${",
		"${B:-${DOLLARS}}":                "${A}${",
		"${B:-${C:-${DOLLARS}}}${LINES}$": "${A}${x\ny$",
		"$A $ $$ $$A":                     "$A $ $$ $$A",
		"$${A}":                           "$a",
		deepDefault(100, "x"):             "x",
	} {
		if got, err := expandText(text, lookup); err != nil || got != want {
			t.Errorf("%s: got %q, %+v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"${A", "${A:-", "${A:-x", "${A:-${B:-x}", "${B:-${A}", "${A:-x}}", "${A}}", "}${A}", "{${A}", "${B:-{}", "${A:-{}",
		"${}", "${1}", "${A-x}", "${A:x}", "${A:=x}", "${ A}", "${A }", "${A:-${}}", "${B:-${1}}", "${}${A}", "${${A}}",
		"${B}", "${EMPTY}", "${B:-${C}}", "${A}${B}", deepDefault(100, "${B}"),
	} {
		got, err := expandText(text, lookup)
		if err == nil {
			t.Errorf("%s: got %q", text, got)
		} else if err.shown == "" || err.allowed == "" || strings.Contains(err.shown, "x") {
			t.Errorf("%s: the error is %+v", text, err)
		}
	}
}

// deepDefault nests a text in defaults.
func deepDefault(depth int, text string) string {
	for i := range depth {
		text = fmt.Sprintf("${N%d:-%s}", i, text)
	}
	return text
}

// A value from a nested default has the type of what it says.
func TestNestedDefaultsAreTyped(t *testing.T) {
	text := smallest + "limiter:\n  default:\n    capacity: !!int ${A:-${B:-12}}\n    rate_per_second: ${A:-${RATE:-x}}\n"
	c, err := parseConfig("lb.yaml", []byte(text), environment(map[string]string{"RATE": "0.5"}))
	if err != nil || c.Limiter.Default.Capacity != 12 || c.Limiter.Default.RatePerSecond != 0.5 {
		t.Errorf("got %+v, %v", c.Limiter.Default, err)
	}
}
