package main

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"loadbalancer/proxy/certtest"
)

// certified is a folder with certificates, and a config that uses them.
type certified struct {
	folder           string
	servers, clients *certtest.Authority
	config           string
	secure, plain    string // addresses of server.tls.listen and redirect_from
}

// writeCertified writes a config with server.tls in front of a backend that answers with the fields
// it has got. Each of more is a line of server.tls or a section.
func writeCertified(t *testing.T, more ...string) *certified {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-Proto", "X-Client-Subject", "X-Forwarded-For"} {
			for _, value := range r.Header[name] {
				fmt.Fprintf(w, "%s: %s\n", name, value)
			}
		}
		fmt.Fprintln(w, r.Method, r.RequestURI)
	}))
	t.Cleanup(backend.Close)
	addresses := freeAddresses(t, 2)
	c := &certified{folder: t.TempDir(), servers: certtest.NewAuthority(t), clients: certtest.NewAuthority(t), secure: addresses[0], plain: addresses[1]}
	c.servers.Write(c.folder, "servers.pem")
	certtest.Write(t, c.servers.Issue([]string{"a.example", "127.0.0.1"}), c.folder, "server")
	c.clients.Write(c.folder, "clients.pem")
	c.write(t, "alice", c.clients, pkix.Name{CommonName: "alice", Organization: []string{"Example, Inc."}})
	server := "server:\n  listen: 127.0.0.1:0\n  tls:\n    listen: " + c.secure + "\n    certificates: [{certificate: " + c.path("server.pem") + ", key: " + c.path("server.key") + "}]\n"
	var sections []string
	for _, m := range more {
		if strings.HasPrefix(m, "    ") {
			server += strings.ReplaceAll(m, "FOLDER", c.folder) + "\n"
		} else {
			sections = append(sections, m)
		}
	}
	c.config = testConfig(t, []string{strings.TrimPrefix(backend.URL, "http://")}, append([]string{server}, sections...)...)
	c.config = strings.Replace(c.config, "health: {path: /healthz, interval: 50ms}", "balance: round_robin", 1)
	return c
}

func (c *certified) path(name string) string { return filepath.Join(c.folder, name) }

// write writes a certificate of an authority for a client.
func (c *certified) write(t *testing.T, name string, by *certtest.Authority, subject pkix.Name) {
	t.Helper()
	certtest.Write(t, by.Issue([]string{name}, certtest.Subject(subject)), c.folder, name)
}

// curl runs curl, which trusts the servers' authority and finds a.example here, and returns what it
// prints, and its exit code.
func (c *certified) curl(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	common := []string{"--silent", "--max-time", "10", "--cacert", c.path("servers.pem")}
	for _, address := range []string{c.secure, c.plain} {
		common = append(common, "--connect-to", "a.example:"+portOf(address)+":127.0.0.1:"+portOf(address))
	}
	command := exec.Command("curl", append(common, args...)...)
	text, err := command.Output()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Skip("curl: ", err)
	}
	return string(text), command.ProcessState.ExitCode()
}

// as are the arguments of a client with a certificate.
func (c *certified) as(name string, args ...string) []string {
	return append([]string{"--cert", c.path(name + ".pem"), "--key", c.path(name + ".key")}, args...)
}

// TestClientCertificates has curl show certificates: with one, the backend and the access log have
// its subject; without, there is no connection.
func TestClientCertificates(t *testing.T) {
	c := writeCertified(t, "    client_ca: FOLDER/clients.pem", "log:\n  access: all\n")
	in := startInstance(t, c.config)
	url := "https://a.example:" + portOf(c.secure) + "/a?b"
	const subject = `CN=alice,O=Example\, Inc.`
	out, code := c.curl(t, c.as("alice", "-H", "X-Client-Subject: CN=mallory", "-H", "X_Client_Subject: CN=mallory", url)...)
	if want := "X-Forwarded-Proto: https\nX-Client-Subject: " + subject + "\nX-Forwarded-For: 127.0.0.1\nGET /a?b\n"; code != 0 || out != want {
		t.Errorf("curl ends with %d: %q, want %q", code, out, want)
	}
	waitFor(t, "the access log", func() bool { return in.log.find("request") != nil }) // it may follow the response
	if line := in.log.find("request"); line["client_subject"] != subject {
		t.Errorf("the access log has %v", line)
	}
	if out, code := c.curl(t, url); code == 0 || out != "" {
		t.Errorf("without a certificate: %d, %q", code, out)
	}
	c.write(t, "mallory", certtest.NewAuthority(t), pkix.Name{CommonName: "alice"})
	if out, code := c.curl(t, c.as("mallory", url)...); code == 0 || out != "" {
		t.Errorf("with another authority's certificate: %d, %q", code, out)
	}
	if out, _ := c.curl(t, c.as("alice", "-w", "%{http_code}", "-o", "/dev/null", "-H", "Host: b.example", url)...); out != "421" {
		t.Errorf("for another host: %s", out)
	}
	if out, _ := c.curl(t, c.as("alice", "-w", "%{http_code}", "-o", "/dev/null", "https://"+c.secure)...); out != "200" {
		t.Errorf("for an address: %s", out)
	}
	if a := call(t, "GET", in.proxy+"/", "", "X-Client-Subject: CN=mallory"); strings.Contains(a.body, "mallory") || !strings.Contains(a.body, "X-Forwarded-Proto: http\n") {
		t.Errorf("in the clear: %q", a.body)
	}
}

// TestClientCAByReload turns certificates of clients on, changes their authority and turns them off.
func TestClientCAByReload(t *testing.T) {
	c := writeCertified(t, "    min_version: \"1.3\"")
	in := startInstance(t, c.config)
	url := "https://a.example:" + portOf(c.secure) + "/"
	if out, code := c.curl(t, "-H", "X-Client-Subject: CN=mallory", url); code != 0 || !strings.Contains(out, "mallory") {
		t.Errorf("without client_ca: %d, %q", code, out)
	}
	changed := in.reload(t, `    min_version: "1.3"`, "    min_version: \"1.3\"\n    client_ca: "+c.path("clients.pem"))
	if len(changed) != 1 || !strings.HasPrefix(changed[0], "server.tls.client_ca: ") {
		t.Errorf("changed: %q", changed)
	}
	if _, code := c.curl(t, url); code == 0 {
		t.Error("a client without a certificate gets an answer")
	}
	if out, code := c.curl(t, c.as("alice", url)...); code != 0 || !strings.Contains(out, "X-Client-Subject: CN=alice") {
		t.Errorf("with a certificate: %d, %q", code, out)
	}
	other := certtest.NewAuthority(t)
	c.write(t, "bob", other, pkix.Name{CommonName: "bob"})
	other.Write(c.folder, "clients.pem")
	waitFor(t, "the other authority", func() bool { _, code := c.curl(t, c.as("bob", url)...); return code == 0 })
	if _, code := c.curl(t, c.as("alice", url)...); code == 0 {
		t.Error("a client of the authority before gets an answer")
	}
	if err := os.WriteFile(c.path("clients.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 && !strings.Contains(a.body, `"changed":[]`) {
		t.Errorf("a reload with an empty file: %+v", a)
	}
	waitFor(t, "/readyz to tell", func() bool {
		a := call(t, "GET", in.management+"/readyz", "")
		return a.status == 200 && strings.Contains(a.body, "clients.pem")
	})
	if _, code := c.curl(t, c.as("bob", url)...); code != 0 {
		t.Error("the authority before does not stay in use")
	}
	in.reload(t, "    client_ca: "+c.path("clients.pem"), "    client_ca: \"\"")
	if out, code := c.curl(t, url); code != 0 || strings.Contains(out, "Subject") {
		t.Errorf("without client_ca: %d, %q", code, out)
	}
}

// exampleOf returns the first YAML of a section of a page.
func exampleOf(t *testing.T, page, section string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+section+"\n")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("%s has no example in %s", page, section)
	}
	return example
}

// TestRedirectFrom has curl follow to https. A reload adds, moves and removes the listener.
func TestRedirectFrom(t *testing.T) {
	c := writeCertified(t, "    min_version: \"1.2\"", exampleOf(t, "docs/tls.md", "## HSTS"))
	in := startInstance(t, c.config)
	url := "http://a.example:" + portOf(c.plain) + "/a//b/%2e?c=d"
	if _, code := c.curl(t, url); code != 7 {
		t.Errorf("before, curl ends with %d, want 7: refused", code)
	}
	in.reload(t, `    min_version: "1.2"`, "    min_version: \"1.2\"\n    redirect_from: "+c.plain)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		out, code := c.curl(t, "--path-as-is", "-L", "-X", method, "-d", "a", url)
		if want := "X-Forwarded-Proto: https\nX-Forwarded-For: 127.0.0.1\n" + method + " /a//b/%2e?c=d\n"; code != 0 || out != want {
			t.Errorf("%s: %d, %q, want %q", method, code, out, want)
		}
	}
	head, _ := c.curl(t, "-I", url)
	if !strings.HasPrefix(head, "HTTP/1.1 308 Permanent Redirect\r\n") || strings.Contains(head, "Strict-Transport") || !strings.Contains(head, "Location: https://a.example:"+portOf(c.secure)+"/a//b/%2e?c=d\r\n") {
		t.Errorf("got %q", head)
	}
	if head, _ := c.curl(t, "--http1.1", "-I", "https://a.example:"+portOf(c.secure)); strings.Count(head, "Strict-Transport-Security: max-age=31536000\r\n") != 1 {
		t.Errorf("got %q", head)
	}
	moved := freeAddresses(t, 1)[0]
	in.reload(t, "redirect_from: "+c.plain, "redirect_from: "+moved)
	if out, _ := c.curl(t, "-w", "%{http_code}", url); out != "000" {
		t.Errorf("at the address before: %s", out)
	}
	if out, _ := c.curl(t, "-w", "%{http_code}", "http://"+moved); out != "308" {
		t.Errorf("at the new address: %s", out)
	}
	in.edit(t, "redirect_from: "+moved, "redirect_from: 0.0.0.0:"+portOf(moved))
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 || !strings.Contains(a.body, "is an address that this process listens on") {
		t.Errorf("the same port of all addresses: %+v", a)
	}
	in.reload(t, "redirect_from: 0.0.0.0:"+portOf(moved), `redirect_from: ""`)
	if _, code := c.curl(t, "http://"+moved); code != 7 {
		t.Errorf("removed, curl ends with %d, want 7: refused", code)
	}
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 200 {
		t.Errorf("%+v", a)
	}
}

// TestExplainOfTLS asks what the listeners would do.
func TestExplainOfTLS(t *testing.T) {
	c := writeCertified(t, "    client_ca: FOLDER/clients.pem")
	c.config = strings.Replace(c.config, "    client_ca", "    redirect_from: "+c.plain+"\n    client_ca", 1)
	in := startInstance(t, c.config)
	ask := func(url string) (e struct {
		TLS      bool
		Redirect string
		Refused  *struct{ Status int }
		Added    []string `json:"fields_added"`
	}) {
		t.Helper()
		a := call(t, "POST", in.management+"/v1/api/explain", `{"url":"`+url+`"}`)
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 200 {
			t.Fatalf("%s: %+v", url, a)
		}
		return e
	}
	if e := ask("https://a.example:" + portOf(c.secure) + "/"); !e.TLS || e.Refused != nil || !strings.Contains(strings.Join(e.Added, "\n"), "X-Forwarded-Proto: https\nX-Forwarded-Host: a.example:"+portOf(c.secure)+"\nX-Client-Subject: ") {
		t.Errorf("https: %+v", e)
	}
	if e := ask("http://a.example:" + portOf(c.plain) + "/a"); e.TLS || e.Redirect != "https://a.example:"+portOf(c.secure)+"/a" {
		t.Errorf("the redirect: %+v", e)
	}
	if e := ask("http://a.example/a"); e.TLS || e.Redirect != "" || len(e.Added) == 0 {
		t.Errorf("in the clear: %+v", e)
	}
}

// testSystemdEdgeSockets has systemd's sockets stand in for the listeners of TLS and of the redirect.
func testSystemdEdgeSockets(t *testing.T, built programs) {
	c := writeCertified(t)
	c.config = strings.Replace(c.config, "  tls:\n", "  tls:\n    redirect_from: "+c.plain+"\n", 1)
	secure, plain := listenLoopback(t), listenLoopback(t)
	p := startActivated(t, built, c.config, []string{"server.tls.redirect_from", "server.tls.listen"}, plain, secure)
	a := call(t, "GET", "http://"+plain.Addr().String()+"/a", "", "Host: a.example") // waits in the socket's queue
	if want := "https://a.example:" + portOf(secure.Addr().String()) + "/a"; a.status != 308 || a.header.Get("Location") != want {
		t.Errorf("got %+v, want the location %s", a, want)
	}
	conn, err := tls.Dial("tcp", secure.Addr().String(), &tls.Config{RootCAs: c.servers.Pool, ServerName: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	off := testConfig(t, freeAddresses(t, 1))
	startActivated(t, built, off, []string{"server.tls.redirect_from"}, plain).
		requireExit(t, 1, `server.tls.redirect_from, which is "" in the config`)
}
