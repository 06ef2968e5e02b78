package load

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestValidateSaysWhatIsAllowed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Options)
		want   []string // parts of the message
	}{
		{"connections", func(o *Options) { o.Connections = 0 }, []string{"connections=0", "1 to 100000"}},
		{"requests", func(o *Options) { o.Requests = -1 }, []string{"requests=-1", "1 or more"}},
		{"duration", func(o *Options) { o.Duration = -time.Second }, []string{"duration=-1s", "above 0"}},
		{"no end", func(o *Options) { o.Requests = 0 }, []string{"requests=0", "duration"}},
		{"rate", func(o *Options) { o.Rate = -5 }, []string{"rate=-5", "above 0"}},
		{"rate not a number", func(o *Options) { o.Rate = math.NaN() }, []string{"rate=NaN"}},
		{"timeout", func(o *Options) { o.Timeout = 0 }, []string{"timeout=0s", "above 0"}},
		{"body size", func(o *Options) { o.BodySize = -1 }, []string{"body_size=-1", "64KiB"}},
		{"two bodies", func(o *Options) { o.Body, o.BodySize = "x", 1 }, []string{"body_size=1", "must not"}},
		{"method", func(o *Options) { o.Method = "GET /" }, []string{`method="GET /"`, "POST"}},
		{"connect", func(o *Options) { o.Method = "CONNECT" }, []string{"method", "CONNECT"}},
		{"header without a colon", func(o *Options) { o.Headers = []string{"X"} }, []string{`header="X"`, "Name: value"}},
		{"header with a line end", func(o *Options) { o.Headers = []string{"X: a\r\nY: b"} }, []string{"header=", "one line"}},
		{"length", func(o *Options) { o.Headers = []string{"content-length: 5"} }, []string{"header=", "body_size"}},
		{"connection", func(o *Options) { o.Headers = []string{"Connection: close"} }, []string{"header=", "keepalive=false"}},
		{"https", func(o *Options) { o.URL = "https://localhost/" }, []string{"https://localhost/", "not supported", "http://"}},
		{"no scheme", func(o *Options) { o.URL = "localhost:8080" }, []string{`url="localhost:8080"`, "http://host"}},
		{"no URL", func(o *Options) { o.URL = "" }, []string{`url=""`, "http://host"}},
		{"bad URL", func(o *Options) { o.URL = "http://a b/" }, []string{"url=", "http://host"}},
		{"user", func(o *Options) { o.URL = "http://u:secret@h/" }, []string{"url=", "Authorization"}},
		{"progress", func(o *Options) { o.Progress = func(Progress) {} }, []string{"progress_interval=0s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options("http://localhost:8080/")
			if err := o.Validate(); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(&o)
			err := o.Validate()
			if err == nil {
				t.Fatal("Validate returned nil")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("message %q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("message %q shows the password", err)
			}
			if _, runErr := Run(t.Context(), o); runErr == nil || runErr.Error() != err.Error() {
				t.Errorf("Run returned %v, want %v", runErr, err)
			}
		})
	}
}

func TestScheduleTake(t *testing.T) {
	s := &schedule{rate: 10, duration: time.Second}
	for i := range 10 {
		due, ok := s.take(0)
		if want := time.Duration(i) * 100 * time.Millisecond; !ok || due != want {
			t.Errorf("request %d is due at %s, %v; want %s, true", i, due, ok, want)
		}
	}
	if due, ok := s.take(0); ok {
		t.Errorf("an 11th request is due at %s, want none in 1s at 10/s", due)
	}
	for now, want := range map[time.Duration]int64{0: 0, time.Millisecond: 1, 100 * time.Millisecond: 1, 999 * time.Millisecond: 10, time.Hour: 10} {
		if got := s.due(now); got != want {
			t.Errorf("after %s %d are due, want %d", now, got, want)
		}
	}

	s = &schedule{requests: 2}
	for i, want := range []bool{true, true, false} {
		if due, ok := s.take(time.Minute); ok != want || ok && due != time.Minute {
			t.Errorf("closed loop, request %d: due %s, %v; want at once, %v", i, due, ok, want)
		}
	}

	s = &schedule{}
	s.stop()
	if _, ok := s.take(0); ok {
		t.Error("a stopped schedule hands out requests")
	}
}

func TestSeriesKeepsEveryCount(t *testing.T) {
	s := series{width: firstWidth}
	const samples = 10_000
	for i := range samples {
		in := s.at(time.Duration(i) * 7 * time.Millisecond) // 70 s in all
		in.Statuses[200+i%2]++
		if i%10 == 0 {
			in.Failures++
		}
		recordTime(in.Latency, time.Millisecond)
	}
	elapsed := samples * 7 * time.Millisecond
	intervals := s.until(elapsed)
	if len(intervals) > maxIntervals || len(intervals) < maxIntervals/2 {
		t.Errorf("%d intervals, want %d to %d", len(intervals), maxIntervals/2, maxIntervals)
	}
	var counts [2]int64
	var failures, latencies int64
	var end time.Duration
	for _, in := range intervals {
		if in.Start != end {
			t.Errorf("an interval starts at %s, the one before ends at %s", in.Start, end)
		}
		end = in.Start + in.Length
		counts[0] += in.Statuses[200]
		counts[1] += in.Statuses[201]
		failures += in.Failures
		latencies += in.Latency.TotalCount()
	}
	if counts != [2]int64{samples / 2, samples / 2} || failures != samples/10 || latencies != samples || end != elapsed {
		t.Errorf("counts %v, failures %d, latencies %d, end %s", counts, failures, latencies, end)
	}
}
