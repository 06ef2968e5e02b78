package balance

import (
	"math"
	"sync"
	"testing"
	"time"
)

// The number follows the exponential, never rises by itself, and ends at 0.
func TestFade(t *testing.T) {
	const value = 1 << 20
	last := uint64(value)
	for after := instant(0); after < 40<<halfBits; after++ {
		got := fade(value, after)
		exact := value * math.Exp2(-float64(after)/(1<<halfBits))
		if got > last || float64(got) < exact-1 || float64(got) > 1.062*exact+1 {
			t.Fatalf("after %d units: %d, want about %.1f, and at most %d", after, got, exact, last)
		}
		last = got
	}
	for _, after := range []instant{30 << halfBits, 64 << halfBits, maxInstant} {
		if got := fade(maxValue, after); got != 0 {
			t.Errorf("after %d units %d are left", after, got)
		}
	}
}

func TestFadingAdds(t *testing.T) {
	var f fading
	if !f.isZero() || f.at(maxInstant) != 0 {
		t.Error("the zero value is not 0")
	}
	const second = 1 << halfBits
	f.add(100, 5*second)
	f.add(20, 6*second)
	f.add(5, 4*second) // came late: it counts from the time of the last
	for now, want := range map[instant]uint64{3 * second: 75, 6 * second: 75, 7 * second: 38, 8 * second: 19} {
		if got := f.at(now); got+1 < want || got > want {
			t.Errorf("after %d half-lives: %d, want %d", now/second, got, want)
		}
	}
	f.add(2*maxValue, 8*second)
	if got := f.at(8 * second); got != maxValue {
		t.Errorf("%d, want at most %d", got, maxValue)
	}
}

func TestFadingIsSafe(t *testing.T) {
	var f fading
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				f.add(1, 7)
			}
		})
	}
	all.Wait()
	if got := f.at(7); got != 4000 {
		t.Errorf("4 times 1000 are %d", got)
	}
}

func TestInstantOf(t *testing.T) {
	for after, want := range map[time.Duration]instant{
		-time.Hour: 0, 0: 0, 1<<unitBits - 1: 0, 1 << unitBits: 1, math.MaxInt64: maxInstant >> 5,
	} {
		if got := instantOf(after); got != want && after != math.MaxInt64 || got > maxInstant {
			t.Errorf("%s after the epoch is %d, want %d", after, got, want)
		}
	}
}
