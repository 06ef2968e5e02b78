package shared

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalancer/limiter/shared/redistest"
	"loadbalancer/proxy/certtest"
)

func TestCheckURL(t *testing.T) {
	folder := t.TempDir()
	ca := certtest.NewAuthority(t).Write(folder, "ca.pem")
	empty := filepath.Join(folder, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{ // want is a part of what is allowed; "": the URL is
		"redis://localhost":                    "",
		"redis://localhost:6379":               "",
		"redis://localhost:6379/":              "",
		"redis://localhost:6379/15":            "",
		"redis://:seCret@localhost":            "",
		"redis://user:seCret%40%2F@localhost":  "",
		"valkey://[::1]:6379":                  "",
		"rediss://10.0.0.1?skip_verify=true":   "",
		"valkeys://10.0.0.1?ca=" + ca:          "",
		"unix:///run/redis.sock":               "",
		"unix:///run/redis.sock?db=3":          "",
		"unix://user:seCret@/run/redis.sock":   "",
		"redis://a?addr=b:1&addr=c:2":          "",
		"redis://a:26379?master_set=buckets":   "",
		"redis://a?dial_timeout=100ms":         "",
		"redis://a?client_name=lb&protocol=2":  "",
		"":                                     "redis://user:password@host:6379/0, rediss:// for TLS",
		"localhost:6379":                       "redis://user:password@host:6379/0",
		"http://localhost":                     "redis://user:password@host:6379/0",
		"redis:localhost":                      "redis://user:password@host:6379/0",
		"redis://":                             "redis://host:6379: the host is missing",
		"rediss:///0":                          "rediss://host:6379: the host is missing",
		"redis://:seCret@":                     "the host is missing",
		"redis://:seCret@:6379":                "the host is missing",
		"redis://localhost:":                   "a port from 1 to 65535",
		"redis://localhost:6379:1":             "a port from 1 to 65535",
		"redis://::1":                          "a port from 1 to 65535",
		"redis://localhost:0":                  "a port from 1 to 65535",
		"redis://localhost:65536":              "a port from 1 to 65535",
		"redis://localhost:port":               "written as %40",
		"redis://localhost/zero":               "the number of a database",
		"redis://localhost/-1":                 "the number of a database",
		"redis://localhost/1/2":                "the number of a database",
		"redis://:seCret@@localhost":           "",
		"redis://:seC#ret@localhost":           "written as %40",
		"redis://:seC/ret@localhost":           "written as %40",
		"redis://:seC?ret@localhost":           "written as %40",
		"redis://:seC%ret@localhost":           "written as %40",
		"unix://localhost/socket":              "unix:///path/to/socket",
		"unix://":                              "unix:///path/to/socket",
		"redis://a?adr=b:1":                    "redis:// with no parameters after ? but addr, client_name, db, dial_timeout, master_set, protocol",
		"redis://a?skip_verify=true":           "redis:// with no parameters after ? but addr, client_name",
		"rediss://a?x=1":                       "but addr, ca, client_name, db, dial_timeout, master_set, protocol, skip_verify",
		"redis://a?addr=b":                     "parameter addr is host:port",
		"redis://a?addr=b:x":                   "parameter addr is a port from 1 to 65535",
		"redis://a?master_set=":                "parameter master_set is the name of a primary",
		"redis://a?db=x":                       "parameter db is the number of a database",
		"redis://a?dial_timeout=1":             "parameter dial_timeout is a duration from 1ms to 10s",
		"redis://a?dial_timeout=1h":            "parameter dial_timeout is a duration from 1ms to 10s",
		"rediss://a?skip_verify=yes":           "parameter skip_verify is true or false",
		"rediss://a?ca=/nonexistent":           "parameter ca is a file of certificates in PEM: open /nonexistent: no such file",
		"rediss://a?ca=" + empty:               "parameter ca is a file of certificates in PEM",
		"redis://a?protocol=1":                 "parameter protocol is 2 or 3",
		"redis://a?client_name=a%20b":          "parameter client_name is printable ASCII",
		"redis://a?protocol=2&protocol=3":      "has the parameter protocol once",
		"redis://a?master_set=%zz":             "written as %40",
		"redis://a?dial_timeout=1s;protocol=2": "written as %40",
	} {
		err := CheckURL(url)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", url, err, want)
		case err != nil && strings.Contains(err.Error(), "eC"):
			t.Errorf("%s: %v tells the password", url, err)
		}
	}
}

func TestCertified(t *testing.T) {
	for _, c := range []struct{ address, host, want string }{
		{"redis1:6380", "redis1", "redis1"},
		{"redis2:6380", "redis1", "redis2"},
		{"redis2:6380", "10.0.0.1", "redis2"},
		{"10.0.0.2:6380", "redis1", "redis1"},
		{"10.0.0.2:6380", "10.0.0.1", "10.0.0.2"},
		{"[2001:db8::2]:6380", "2001:db8::1", "2001:db8::2"},
	} {
		if got := certified(c.address, c.host); got != c.want {
			t.Errorf("%s, of %s: %s, want %s", c.address, c.host, got, c.want)
		}
	}
}

// TestCertificates connects to the second server of a URL, which has a certificate of its own.
func TestCertificates(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	authority := certtest.NewAuthority(t)
	certificate, key := certtest.Write(t, authority.Issue([]string{"localhost"}), folder, "second")
	server := redistest.Start(t, redistest.Options{Certificate: certificate, Key: key})
	_, port, _ := net.SplitHostPort(server.Address)
	option, err := parseURL("rediss://127.0.0.1:1?addr=localhost:" + port + "&ca=" + authority.Write(folder, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := option.DialCtxFn(t.Context(), option.InitAddress[1], &option.Dialer, option.TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	_, err = option.DialCtxFn(t.Context(), server.Address, &option.Dialer, option.TLSConfig)
	if err == nil || !strings.HasPrefix(cause(err), "the certificate is refused: ") || strings.Contains(cause(err), "redis://") {
		t.Errorf("a server that shows the certificate of another one: %v", err)
	}
}
