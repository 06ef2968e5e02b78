package rest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"
)

// linesOf returns the lines of a body.
func linesOf(body io.Reader) *Lines {
	var ctx fasthttp.RequestCtx
	stream(body, -1)(&ctx.Request)
	return NewLines(&ctx)
}

// readLines returns each line, shortened, or the code of its fault, up to the end.
func readLines(t *testing.T, l *Lines) (all []string) {
	t.Helper()
	for {
		line, err := l.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			f, ok := errors.AsType[*Fault](err)
			if !ok {
				t.Fatalf("the error is %T: %v", err, err)
			}
			all = append(all, fmt.Sprintf("%d: code %d", l.Number(), f.Code))
			if f.Code != TooLarge {
				break
			}
			if want := fmt.Sprintf("line %d is too long", l.Number()); !strings.Contains(f.Message, want) {
				t.Errorf("the message is %q, want %q in it", f.Message, want)
			}
			continue
		}
		if len(line) > 20 {
			line = fmt.Appendf(nil, "%d×%c", len(line), line[0])
		}
		all = append(all, fmt.Sprintf("%d: %s", l.Number(), line))
	}
	if _, err := l.Next(); err == nil {
		t.Error("there is a line after the end")
	}
	return all
}

func TestLines(t *testing.T) {
	longest := strings.Repeat("x", MaxLine)
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"nothing":              {"", nil},
		"one":                  {"a\n", []string{"1: a"}},
		"without a break":      {"a\nb", []string{"1: a", "2: b"}},
		"CRLF":                 {"a\r\nb\r\n", []string{"1: a", "2: b"}},
		"CR inside":            {"a\rb\r\r\n", []string{"1: a\rb\r"}},
		"empty":                {"\n\r\n\nb\n", []string{"1: ", "2: ", "3: ", "4: b"}},
		"a byte order mark":    {"\ufeffa\n\ufeffb\n", []string{"1: a", "2: \ufeffb"}},
		"longer than a buffer": {strings.Repeat("y", readAhead) + "\nb\n", []string{fmt.Sprintf("1: %d×y", readAhead), "2: b"}},
		"as long as a buffer":  {strings.Repeat("y", readAhead-1) + "\nb\n", []string{fmt.Sprintf("1: %d×y", readAhead-1), "2: b"}},
		"the longest":          {longest + "\r\nb", []string{"1: 1048576×x", "2: b"}},
		"the longest, at last": {"b\n" + longest, []string{"1: b", "2: 1048576×x"}},
		"too long":             {"a\n" + longest + "x\nb\n", []string{"1: a", "2: code 1", "3: b"}},
		"too long with a CR":   {longest + "\r\r\nb\n", []string{"1: code 1", "2: b"}},
		"far too long":         {"a\n" + longest + longest + longest + "\n\nb", []string{"1: a", "2: code 1", "3: ", "4: b"}},
		"too long, at last":    {"a\n" + longest + longest, []string{"1: a", "2: code 1"}},
		"two that are too long": {longest + "x\n" + longest + "y\nb\n" + longest + "\n",
			[]string{"1: code 1", "2: code 1", "3: b", "4: 1048576×x"}},
	} {
		t.Run(name, func(t *testing.T) {
			for how, body := range map[string]io.Reader{
				"at once": strings.NewReader(c.body), "in halves": iotest.HalfReader(strings.NewReader(c.body)),
				"with the end": iotest.DataErrReader(strings.NewReader(c.body)),
			} {
				if got := readLines(t, linesOf(body)); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("%s: got %q, want %q", how, got, c.want)
				}
			}
		})
	}
}

// TestLinesThatBreakOff checks that the whole lines before a failure are returned, and no part of
// one.
func TestLinesThatBreakOff(t *testing.T) {
	for err, code := range map[error]Code{
		io.ErrUnexpectedEOF: Malformed, os.ErrDeadlineExceeded: Late, net.ErrClosed: Unavailable,
		fmt.Errorf("wrapped: %w", net.ErrClosed): Unavailable,
	} {
		for _, part := range []string{"", "b", strings.Repeat("b", 2*readAhead), strings.Repeat("b", 2*MaxLine)} {
			body := io.MultiReader(strings.NewReader("a\n"+part), iotest.ErrReader(err))
			want := fmt.Sprintf("[1: a 1: code %d]", code)
			if got := fmt.Sprint(readLines(t, linesOf(body))); got != want {
				t.Errorf("%v after %.5q: got %s, want %s", err, part, got, want)
			}
		}
	}
}

func TestLinesOfAReadBody(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetBodyString("a\nb")
	if got := readLines(t, NewLines(&ctx)); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}
