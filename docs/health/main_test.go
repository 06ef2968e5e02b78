package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestPictureIsUpToDate(t *testing.T) {
	committed, err := os.ReadFile("../health.svg")
	if err != nil {
		t.Fatal(err)
	}
	var drawn bytes.Buffer
	if err := draw(&drawn, recorded); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(drawn.Bytes(), committed) {
		t.Fatal("docs/health.svg differs from the run; go run ./docs/health > docs/health.svg")
	}
}

// TestEveryEventIsDrawn: the run has each event that the picture knows, once.
func TestEveryEventIsDrawn(t *testing.T) {
	var drawn strings.Builder
	if err := draw(&drawn, recorded); err != nil {
		t.Fatal(err)
	}
	for _, label := range labels {
		if strings.Count(drawn.String(), ">"+label.text+"<") != 1 {
			t.Errorf("the picture does not have %q once", label.text)
		}
	}
}

func TestShare(t *testing.T) {
	for _, test := range []struct {
		requests []int
		want     float64
	}{{[]int{1, 1, 2}, 0.25}, {[]int{0, 0, 0}, 0}, {[]int{5, 0, 0}, 1}} {
		if got := (count{Requests: test.requests}).share(0); got != test.want {
			t.Errorf("%v: got %g, want %g", test.requests, got, test.want)
		}
	}
}

func TestDrawRefuses(t *testing.T) {
	for _, bad := range []string{"", "{}", `{"counts":[]}`} {
		if err := draw(&bytes.Buffer{}, []byte(bad)); err == nil {
			t.Errorf("%q was drawn", bad)
		}
	}
}
