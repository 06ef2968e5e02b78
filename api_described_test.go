package main

import (
	"html"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"loadbalancer/docs/described"
)

// isGotHere tells which of the responses in docs/swagger.yaml the tests of this package have to get.
// The clients' own calls are in the care of package clients.
func isGotHere(o *described.Operation, status string) bool {
	if status == "400" && !readsJSON(o) && o.Method != "DELETE" { // of a body cut short alone, and client sends none
		return false
	}
	return slices.Contains([]string{"backends", "config", "description", "status"}, o.Tag) || slices.Contains([]string{"400", "401", "403", "413", "429", "503"}, status)
}

// readsJSON tells the calls with a JSON body from those without a body, and from the import.
func readsJSON(o *described.Operation) bool {
	return slices.Contains(o.Takes, "application/json") || slices.Contains(o.Takes, "application/merge-patch+json")
}

// TestEveryCallRefuses makes every call that the description has, in the wrong ways that all have
// alike. The recorder holds the responses to the description.
func TestEveryCallRefuses(t *testing.T) {
	tokens := apiOnBoth + "  tokens: [{name: w, role: write, token: write-write-write-write}, {name: r, role: read, token: read-read-read-read}]\n"
	guarded := startInstance(t, testConfig(t, freeAddresses(t, 1), tokens), "--demo")
	open := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	const write, read, wrong = "Authorization: Bearer write-write-write-write", "Authorization: Bearer read-read-read-read", "Authorization: Bearer wrong"
	for i, base := range guarded.listeners() {
		for _, o := range apiCalls.Operations() {
			isOpen := o.Tag == "description" && base == guarded.management
			refuses := func(status int, what, base, query, body string, fields ...string) {
				t.Helper()
				if a := call(t, o.Method, base+o.Target()+query, body, fields...); a.status != status {
					t.Errorf("%s %s%s of %s: got %+v, want %d", o.Method, base, o.Target(), what, a, status)
				}
			}
			refuses(422, "an unknown parameter", base, "?nothing=1", "", write)
			switch isDescribed := slices.Contains(o.Statuses, "400"); {
			case isDescribed && readsJSON(o):
				refuses(400, "half a body", base, "", "{", write)
			case isDescribed && o.Method == "DELETE": // reads no body
				refuses(400, "a condition that is no entity tag", base, "", "", write, "If-Match: a")
			}
			if slices.Contains(o.Statuses, "413") {
				refuses(413, "a long body", base, "", strings.Repeat(" ", 1<<20+1), write)
			}
			if isOpen {
				continue
			}
			refuses(401, "a caller without a token", base, "", "")
			refuses(403, "a caller from elsewhere", open.listeners()[i], "", "", "Via: 1.1 a")
			if o.Method != "GET" && o.Path != "/explain" {
				refuses(403, "a reader", base, "", "", read)
			}
			for status := 401; status == 401; {
				status = call(t, o.Method, base+o.Target(), "", wrong).status
				if status != 401 && status != 429 {
					t.Errorf("%s %s: a wrong token got %d", o.Method, o.Target(), status)
				}
			}
		}
	}
}

// TestPageOfTheAPI makes the calls that the page shows, as a shell reads them.
func TestPageOfTheAPI(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: a-token-for-the-page\n"), "--demo")
	page := call(t, "GET", in.management+"/v1/api/", "")
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" ||
		!strings.HasPrefix(page.header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") {
		t.Fatalf("got %d %v", page.status, page.header)
	}
	if head := call(t, "HEAD", in.management+"/v1/api/", ""); head.status != 200 || head.header.Get("Content-Length") != strconv.Itoa(len(page.body)) {
		t.Errorf("HEAD got %d %v", head.status, head.header)
	}
	if onProxy := call(t, "GET", in.proxy+"/v1/api/", "", "Authorization: Bearer a-token-for-the-page"); onProxy.status != 200 ||
		!strings.Contains(onProxy.body, in.proxy+"/v1/api/clients/") {
		t.Errorf("on the proxy's listener, got %d", onProxy.status)
	}
	// The plan of an example.
	if a := call(t, "PUT", in.management+"/v1/api/plans/gold", `{"capacity":100,"rate_per_second":10}`, "Authorization: Bearer a-token-for-the-page"); a.status != 201 {
		t.Fatalf("the plan got %+v", a)
	}
	lines := regexp.MustCompile(`(?s)<pre><code>(curl .*?)</code></pre>`).FindAllStringSubmatch(page.body, -1)
	for _, line := range lines {
		text := html.UnescapeString(line[1])
		shell := exec.Command("sh", "-c", "curl() { printf '%s\\000' \"$@\"; }; "+text)
		shell.Env = append(os.Environ(), "LB_TOKEN=a-token-for-the-page")
		words, err := shell.Output()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		method, url, body, fields := "GET", "", "", []string(nil)
		for words := strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00"); len(words) > 0; words = words[1:] {
			switch flag := words[0]; flag {
			case "-X", "-H", "-d":
				words = words[1:]
				switch flag {
				case "-X":
					method = words[0]
				case "-H":
					fields = append(fields, words[0])
				case "-d":
					body = words[0]
				}
			default:
				url = flag
			}
		}
		if strings.HasSuffix(url, "/status/stream") { // has no end
			follow(t, in.management, fields...)
			continue
		}
		// A name or a backend of an example does not exist here, and an example may be there twice.
		if a := call(t, method, url, body, fields...); !slices.Contains([]int{200, 201, 204, 404, 409}, a.status) || !strings.HasPrefix(url, in.management) {
			t.Errorf("%s: got %d %s", text, a.status, a.body)
		}
	}
	if len(lines) < len(apiCalls.Operations()) {
		t.Errorf("the page shows %d calls", len(lines))
	}
}
