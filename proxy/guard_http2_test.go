package proxy

import (
	"slices"
	"strings"
	"testing"
)

// TestGuardOverHTTP2 has the requests of TestGuard sent in HTTP/2, as far as there is such a request.
// What is refused in HTTP/1 is refused, and not a byte of it comes to the backend.
func TestGuardOverHTTP2(t *testing.T) {
	url, seen := startCountingBackend(t)
	_, address := startProxy(t, http2Options(url))
	sent := 0
	for _, test := range guardCases {
		for _, raw := range test.request {
			list, body, ok := asHTTP2(raw)
			if !ok || test.want == 200 && !existsInHTTP2(list) {
				continue
			}
			sent++
			before := seen.Load()
			f := dialFrames(t, address)
			stream := f.open(body == "", list...)
			if body != "" {
				f.must(f.write.WriteData(stream, true, []byte(body)))
			}
			a := f.wait(stream)
			if passed, reached := a.String() == "200", seen.Load() > before; passed != (test.want == 200) || reached != passed {
				t.Errorf("%s: %.200q: %s, and %d in HTTP/1; reached the backend: %v", test.name, list, a, test.want, reached)
			}
			f.conn.Close()
		}
	}
	if sent < 140 {
		t.Errorf("only %d requests were sent", sent)
	}
}

// asHTTP2 returns the header list and the body of a request of HTTP/1.1. ok is false for one that
// cannot be put into a list.
func asHTTP2(raw string) (list []string, body string, ok bool) {
	header, body, whole := strings.Cut(raw, "\r\n\r\n")
	all := strings.Split(header, "\r\n")
	first := strings.Split(all[0], " ")
	if !whole || len(first) != 3 || first[2] != "HTTP/1.1" {
		return nil, "", false
	}
	list = []string{":method: " + first[0], ":scheme: http", ":path: " + first[1]}
	hosts := 0
	for _, line := range all[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || name[0] == ' ' || name[0] == '\t' {
			return nil, "", false
		}
		if name = strings.ToLower(name); name == "host" {
			hosts++
		}
		list = append(list, name+": "+strings.Trim(value, " \t"))
	}
	if hosts == 1 { // otherwise there is no authority, but fields
		at := slices.IndexFunc(list, func(l string) bool { return strings.HasPrefix(l, "host: ") })
		authority := ":authority" + strings.TrimPrefix(list[at], "host")
		list = slices.Insert(slices.Delete(list, at, at+1), 3, authority)
	}
	return list, body, true
}

// existsInHTTP2 reports whether a request that is valid in HTTP/1 is in HTTP/2.
func existsInHTTP2(list []string) bool {
	return !slices.ContainsFunc(list, func(line string) bool {
		name, value, _ := strings.Cut(line[1:], ": ")
		switch line[:1] + name {
		case ":path":
			return value[0] != '/' && value[0] != '*'
		case "connection", "transfer-encoding", "upgrade", "keep-alive", "te":
			return true
		}
		return false
	})
}
