package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

func TestPictureIsUpToDate(t *testing.T) {
	committed, err := os.ReadFile("../fleet.svg")
	if err != nil {
		t.Fatal(err)
	}
	var drawn bytes.Buffer
	if err := write(&drawn, recorded); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(drawn.Bytes(), committed) {
		t.Fatal("docs/fleet.svg differs from the runs; go run ./docs/fleet > docs/fleet.svg")
	}
}

// TestRunsKeepTheBound: the runs are those of a limiter that keeps its bound, and reach it.
func TestRunsKeepTheBound(t *testing.T) {
	var all []run
	if err := json.Unmarshal(recorded, &all); err != nil {
		t.Fatal(err)
	}
	reached := 0
	for _, r := range all {
		if want := r.Instances * (r.Capacity / (8 * r.Instances)); r.Bound != want {
			t.Errorf("%+v: the bound is %d, want %d", r, r.Bound, want)
		}
		if r.Over > float64(r.Bound)+0.001 {
			t.Errorf("%+v: above the bound", r)
		}
		if r.Bound > 0 && r.Over > 0.9*float64(r.Bound) {
			reached++
		}
	}
	if reached == 0 {
		t.Error("no run comes near its bound")
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, bad := range []string{"", "[]", `{"instances":1}`} {
		if err := write(&bytes.Buffer{}, []byte(bad)); err == nil {
			t.Errorf("%q was drawn", bad)
		}
	}
}
