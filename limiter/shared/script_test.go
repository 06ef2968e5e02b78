package shared

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/central"
	"loadbalancer/limiter/shared/redistest"
)

// newClient returns a client of a server.
func newClient(t testing.TB, url string) rueidis.Client {
	t.Helper()
	option, err := parseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// terms are those of the buckets under test: some are full after milliseconds, some never.
var terms = []limiter.Limit{
	{Capacity: 1, RatePerSecond: 1}, {Capacity: 10, RatePerSecond: 0.3}, {Capacity: 10, RatePerSecond: 3000},
	{Capacity: 25, RatePerSecond: 3000}, {Capacity: 1000, RatePerSecond: 1e6 / 7}, {Capacity: 1000, RatePerSecond: 1e9},
	{Capacity: 999_999_999_999_999, RatePerSecond: 1e9}, {Capacity: 3, RatePerSecond: 1.0 / (24 * 60 * 60)},
}

// draw returns a telling.
func draw(t *rapid.T, client string) *limiter.Telling {
	l := rapid.SampledFrom(terms).Draw(t, "terms")
	few := rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 30), rapid.Int64Range(0, 2000))
	part := rapid.Float64Range(0, 1.5).Draw(t, "part of the bucket that is known to be spent")
	return &limiter.Telling{
		Client: client, Capacity: l.Capacity, Rate: l.RatePerSecond,
		Spent: few.Draw(t, "spent"), Asked: few.Draw(t, "asked"),
		Debt:    time.Duration(part * float64(l.Capacity) / l.RatePerSecond * 1e9).Truncate(time.Microsecond),
		Restore: rapid.IntRange(0, 5).Draw(t, "restore") == 0,
		Reset:   rapid.IntRange(0, 9).Draw(t, "reset") == 0,
		Resets:  rapid.Int64Range(0, 2).Draw(t, "resets"),
	}
}

// TestScriptIsTheModel has a server and the model take the same tellings. The bucket that the server
// keeps says when it did.
func TestScriptIsTheModel(t *testing.T) {
	client := newClient(t, redistest.Start(t, redistest.Options{}).URL())
	runs, seen := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		runs++
		name := fmt.Sprintf("client:%d", runs)
		var model central.Central
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			time.Sleep(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 3, 10}).Draw(t, "ms")) * time.Millisecond)
			told := draw(t, name)
			s := take(t, client, told)
			now := time.Duration(s.after.At) * time.Microsecond
			before, isThere := model.Bucket(now, name)
			if isThere != (s.before != "") {
				if (before.Expires - now).Abs() < 50*time.Millisecond {
					return // the server looks at its clock more than once
				}
				t.Fatalf("the server has %q, the model %+v %t", s.before, before, isThere)
			}
			note(seen, told, before, isThere)
			if want := model.Tell(now, told); s.answer != want {
				t.Errorf("%+v: the server says %+v, the model %+v", *told, s.answer, want)
			}
			want, _ := model.Bucket(now, name)
			if s.after.Expires == 0 || (s.after.Expires-want.Expires).Abs() < 50*time.Millisecond {
				s.after.Expires = want.Expires
			}
			if s.after != want {
				t.Errorf("%+v: the server keeps %+v, the model %+v", *told, s.after, want)
			}
		}
	})
	for _, what := range []string{"first", "expired", "same terms", "smaller", "larger", "owed", "restored", "reset", "granted in part"} {
		if seen[what] == 0 {
			t.Errorf("no telling was %s: %v", what, seen)
		}
	}
}

// step is what a server does with a telling.
type step struct {
	before string // the bucket, "" without one
	answer limiter.Answer
	after  central.Bucket
}

// take has a server take a telling.
func take(t *rapid.T, client rueidis.Client, told *limiter.Telling) (s step) {
	t.Helper()
	key := bucketKey + told.Client
	b := client.B()
	replies := client.DoMulti(context.Background(), b.Multi().Build(), b.Get().Key(key).Build(), tell(b, []*limiter.Telling{told}, true),
		b.Get().Key(key).Build(), b.Exec().Build(), b.Pexpiretime().Key(key).Build())
	all, err := replies[4].ToArray()
	if err != nil {
		t.Fatal(err)
	}
	s.before, _ = all[0].ToString()
	values, err := all[1].AsIntSlice()
	heard, err := answers(1, values, err)
	if err != nil {
		t.Fatal(err)
	}
	s.answer = heard[0]
	text, err := all[2].ToString()
	if err != nil {
		t.Fatal(err)
	}
	s.after = parseBucket(t, text)
	if at, err := replies[5].AsInt64(); err == nil && at > 0 { // Redis 6 cannot tell, and it may have expired
		s.after.Expires = time.Duration(at) * time.Millisecond
	}
	return s
}

// parseBucket reads what a server keeps of a bucket.
func parseBucket(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) central.Bucket {
	t.Helper()
	var f [6]float64
	if n, err := binary.Decode([]byte(text), binary.LittleEndian, &f); err != nil || n != len(text) {
		t.Fatalf("%q: %v", text, err)
	}
	return central.Bucket{At: int64(f[0]), Debt: f[1], Capacity: int64(f[2]), Rate: f[3], Owed: f[4], Resets: int64(f[5])}
}

// note counts what a telling meets.
func note(seen map[string]int, told *limiter.Telling, before central.Bucket, isThere bool) {
	for what, is := range map[string]bool{
		"first":           before.At == 0,
		"expired":         before.At > 0 && !isThere,
		"same terms":      isThere && before.Capacity == told.Capacity && before.Rate == told.Rate,
		"smaller":         isThere && before.Capacity > told.Capacity && before.Debt > float64(told.Capacity),
		"larger":          isThere && before.Capacity < told.Capacity && before.Owed > 0,
		"owed":            isThere && before.Owed > 0,
		"restored":        isThere && told.Restore && told.Debt > 0,
		"reset":           told.Reset,
		"granted in part": told.Asked > told.Capacity,
	} {
		if is {
			seen[what]++
		}
	}
}
