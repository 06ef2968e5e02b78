package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	const benchmarks = `goos: linux
BenchmarkBucket/a,_time_known     	 100	 31.4 ns/op	 0 B/op	 0 allocs/op
BenchmarkBucket/a,_time_known     	 100	 900 ns/op	 0 B/op	 0 allocs/op
BenchmarkBucket/a,_time_known     	 100	 30 ns/op	 0 B/op	 0 allocs/op
BenchmarkBucket/go-b/c     	 100	 50 ns/op	 24 B/op	 2 allocs/op
BenchmarkBucket/go-b/c-2     	 100	 450 ns/op	 3.7 %errors	 24 B/op	 2 allocs/op
BenchmarkKeyed/go-b/c-8     	 100	 1 ns/op	 64 B/client
BenchmarkKeyed/go-b/c     	 100	 226 ns/op	 88.4 B/client	 16 B/op	 1 allocs/op
PASS
`
	want := []string{
		"| a, time known | 31 ns |  |  |  |  | 0 |  |  |  |  |",
		"| go-b/c | 50 ns | 450 ns |  |  |  | 2 | 226 ns | 1 | 88 | 3.7 % |",
	}
	var table strings.Builder
	if err := run(strings.NewReader(benchmarks), &table); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	if got := strings.Join(lines[2:], "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}

	if err := run(strings.NewReader("PASS\n"), &table); err == nil {
		t.Error("no error for an input without benchmarks")
	}
}
