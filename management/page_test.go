package management

import (
	"os"
	"testing"
)

// TestPageIsSmall holds the files of the page together, uPlot included, under 100 KiB.
func TestPageIsSmall(t *testing.T) {
	files, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	if len(files) < 10 || sum >= 100<<10 {
		t.Errorf("%d files have %d bytes", len(files), sum)
	}
}
