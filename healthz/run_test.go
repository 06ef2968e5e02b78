package healthz

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// start runs the watch in a synctest bubble and returns a function that ends it and waits for its
// end.
func start(t *testing.T, cfg Config, targets []Target, check func(context.Context, Target) error) (stop func()) {
	for i := range targets { // each needs a name of its own
		targets[i].Name += fmt.Sprint(" ", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		newWatcher(cfg, targets, func(ctx context.Context, _ Config, t Target) error { return check(ctx, t) }).Run(ctx)
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func ignore(Verdict) {}

// changes calls f with the verdicts that a target is down, or is up again.
func changes(f func(up bool, err error)) func(Verdict) {
	down := false
	return func(v Verdict) {
		if v.Down != down {
			down = v.Down
			f(!down, v.Err)
		}
	}
}

var errDown = errors.New("down")

func TestRunReports(t *testing.T) {
	tests := []struct {
		name    string
		results []error // of the checks in turn; the last one stays
		want    []string
	}{
		{"up all the time", []error{nil}, nil},
		{"down from the start", []error{errDown}, []string{"1 down"}},
		{"down at first", []error{errDown, nil}, []string{"1 down", "3 up"}},
		{"an outage", []error{nil, errDown, errDown, errDown, nil}, []string{"3 down", "6 up"}},
		{"a single failure", []error{nil, errDown, nil}, nil},
		{"out of file descriptors", []error{nil, fmt.Errorf("dial: %w", syscall.EMFILE)}, nil},
		{"out of file descriptors while down", []error{errDown, fmt.Errorf("dial: %w", syscall.ENFILE)}, []string{"1 down"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checks := 0
				var got []string
				report := func(up bool, err error) {
					switch {
					case up && err == nil:
						got = append(got, fmt.Sprint(checks, " up"))
					case !up && errors.Is(err, errDown):
						got = append(got, fmt.Sprint(checks, " down"))
					default:
						t.Errorf("reported up %v with error %v", up, err)
					}
				}
				stop := start(t, DefaultConfig(), []Target{{Report: changes(report)}}, func(context.Context, Target) error {
					err := tt.results[min(checks, len(tt.results)-1)]
					checks++
					return err
				})
				time.Sleep(time.Minute)
				stop()
				if !slices.Equal(got, tt.want) {
					t.Errorf("reported %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestRunPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		began := time.Now()
		var at []time.Duration
		stop := start(t, cfg, []Target{{Report: ignore}}, func(context.Context, Target) error {
			at = append(at, time.Since(began))
			return nil
		})
		time.Sleep(time.Hour)
		stop()
		if at[0] != 0 {
			t.Errorf("the first check came after %v, want at once", at[0])
		}
		shortest, longest := time.Hour, time.Duration(0)
		for i := range at[1:] {
			pause := at[i+1] - at[i]
			shortest, longest = min(shortest, pause), max(longest, pause)
		}
		if shortest < cfg.Interval*9/10 || longest > cfg.Interval*11/10 {
			t.Errorf("pauses from %v to %v, want %v give or take 10 %%", shortest, longest, cfg.Interval)
		}
		if longest-shortest < cfg.Interval/10 {
			t.Errorf("pauses from %v to %v, want them spread", shortest, longest)
		}
	})
}

func TestRunMaxConcurrent(t *testing.T) {
	for _, limit := range []int{1, 2, 16} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.MaxConcurrent = limit
				var underWay, most atomic.Int64
				check := func(context.Context, Target) error {
					if n := underWay.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(cfg.Timeout)
					underWay.Add(-1)
					return errDown
				}
				stop := start(t, cfg, slices.Repeat([]Target{{Report: ignore}}, 100), check)
				synctest.Wait()
				if n := underWay.Load(); n != int64(limit) {
					t.Errorf("%d checks started at once, want %d", n, limit)
				}
				time.Sleep(5 * time.Minute)
				stop()
				if most.Load() != int64(limit) {
					t.Errorf("up to %d checks under way, want %d", most.Load(), limit)
				}
			})
		})
	}
}

// Backends that swallow every packet hold a slot for the whole timeout. Once they are known to be
// down, they must not make the others wait, however many they are.
func TestRunBlackholesDelayNobody(t *testing.T) {
	for _, holes := range []int{1, 20, 200} {
		t.Run(fmt.Sprint(holes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := DefaultConfig()
				targets := make([]Target, 500)
				last := make(map[string]time.Time)
				var mu sync.Mutex
				var longest time.Duration
				down := 0
				for i := range targets {
					targets[i] = Target{Name: fmt.Sprint("good ", i), Report: ignore}
					if i%(500/holes) == 0 && i/(500/holes) < holes {
						targets[i] = Target{Name: "hole", Report: changes(func(bool, error) {
							mu.Lock()
							defer mu.Unlock()
							down++
						})}
					}
				}
				stop := start(t, cfg, targets, func(ctx context.Context, target Target) error {
					if strings.HasPrefix(target.Name, "hole ") {
						time.Sleep(cfg.Timeout)
						return errDown
					}
					mu.Lock()
					before, seen := last[target.Name]
					last[target.Name] = time.Now()
					if seen {
						longest = max(longest, time.Since(before))
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
					return nil
				})
				// By now every hole has failed its first check.
				time.Sleep(time.Duration(holes/cfg.MaxConcurrent+1)*cfg.Timeout + 2*cfg.Interval)
				mu.Lock()
				longest = 0
				clear(last)
				mu.Unlock()
				time.Sleep(time.Minute)
				stop()

				if down != holes {
					t.Errorf("%d of %d blackholes are down", down, holes)
				}
				if len(last) != len(targets)-holes {
					t.Errorf("%d of %d good backends were checked", len(last), len(targets)-holes)
				}
				if limit := cfg.Interval*11/10 + 100*time.Millisecond; longest > limit {
					t.Errorf("a good backend went unchecked for %v, want at most %v", longest, limit)
				}
			})
		})
	}
}

func TestRunEndsAtOnce(t *testing.T) {
	tests := []struct {
		name  string
		check func(ctx context.Context, t Target) error
	}{
		{"between checks", func(context.Context, Target) error { return nil }},
		{"amid checks", func(ctx context.Context, _ Target) error {
			<-ctx.Done()
			return ctx.Err()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				report := func(v Verdict) {
					if v.Err != nil {
						t.Errorf("reported %v, of a check that was cut short", v.Err)
					}
				}
				stop := start(t, DefaultConfig(), slices.Repeat([]Target{{Report: report}}, 100), tt.check)
				synctest.Wait()
				began := time.Now()
				stop()
				if took := time.Since(began); took != 0 {
					t.Errorf("ended %v after its context, want at once", took)
				}
			})
		})
	}
}

func TestRunOverSockets(t *testing.T) {
	var sick atomic.Bool
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer backend.Close()

	reports := make(chan string)
	target := Target{
		Name:    "main/backend",
		Network: "tcp",
		Address: backend.Listener.Addr().String(),
		Host:    "backend.example",
		Report:  changes(func(up bool, err error) { reports <- fmt.Sprint(up, " ", err) }),
	}
	cfg := httpConfig()
	cfg.Interval = minInterval
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { NewWatcher(cfg, []Target{target}).Run(ctx) })

	sick.Store(true)
	want := "false health check of main/backend: GET /up?… was answered with status 503, want 200-399"
	if got := <-reports; got != want {
		t.Errorf("reported %q, want %q", got, want)
	}
	sick.Store(false)
	if got := <-reports; got != "true <nil>" {
		t.Errorf("reported %q, want %q", got, "true <nil>")
	}
	cancel()
	wg.Wait()
}
