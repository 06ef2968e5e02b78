package clients

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// told returns all that is told of a store, "" if nothing is wrong with it.
func told(store string) string {
	var text strings.Builder
	cfg := DefaultConfig()
	cfg.Store = store
	cfg.Validate(func(path string, value any, allowed string) {
		fmt.Fprintf(&text, "%s: %v: %s\n", path, value, allowed)
	})
	return text.String()
}

func TestPostgresURLs(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url  string // behind the scheme
		want string // a piece of what is told, "" if nothing is
	}{
		{"lb:pw@h:5432/lb?application_name=lb@eu", ""},
		{"lb:pw@h?application_name=lb@eu", ""},
		{"lb@h/lb?application_name=lb@eu&sslmode=require", ""},
		{"h/lb?user=lb@corp&password=p@ss/w?rd&sslmode=disable", ""},
		{"h/lb?password=pw&search_path=lb&statement_timeout=5s", ""},
		{"lb:pw@h/lb?search_path=lb&my.setting=1&lc_messages=C", ""},
		{"lb:pw@h1,h2:5433,[::1]:5434/lb", ""},
		{"lb:pw@h1,h2/lb?target_session_attrs=primary&pool_max_conns=5&", ""},
		{"lb:p:w,[]&=!+*@h/lb", ""},
		{"lb:p%40w%2F%3F%23%25@h/lb", ""},
		{"/lb?host=/run/postgresql", ""},
		{"", ""},
		{"lb:pw@h/lb?sslmode=bogus", `sslmode is one of disable, allow, prefer, require, verify-ca, verify-full; it is "bogus"`},
		{"lb:pw@h/lb?sslcertmode=bogus", `sslcertmode is one of disable, allow, require; it is "bogus"`},
		{"lb:pw@h/lb?target_session_attrs=bogus", `target_session_attrs is one of any,`},
		{"lb:pw@h/lb?channel_binding=bogus", `channel_binding is one of`},
		{"lb:pw@h/lb?sslmode=verify-full&sslrootcert=" + dir + "/missing.pem", "sslrootcert can be read: open " + dir + "/missing.pem: no such file"},
		{"lb:pw@h/lb?sslrootcert=" + dir, "sslrootcert can be read: read " + dir + ": is a directory"},
		{"lb:pw@h/lb?sslrootcert=" + garbage, "sslrootcert holds certificates in PEM; " + garbage + " holds none"},
		{"lb:pw@h/lb?sslcert=" + dir + "/missing.pem&sslkey=" + garbage, "sslcert can be read: open " + dir + "/missing.pem"},
		{"lb:pw@h/lb?sslcert=" + garbage + "&sslkey=" + dir + "/missing.pem", "sslkey can be read: open " + dir + "/missing.pem"},
		{"lb:pw@h/lb?sslcert=" + garbage + "&sslkey=" + garbage, "sslkey"},
		{"lb:pw@h/lb?sslcert=" + garbage, `both "sslcert" and "sslkey" are required`},
		{"lb:pw@h/lb?sslmod=require", `parameters that are known; "sslmod" is not`},
		{"lb:pw@h/lb?hostaddr=10.0.0.1", `"hostaddr" is not`},
		{"lb:pw@h/lb?hosts=a,b", `"hosts" is not`},
		{"lb:pw@h/lb?pool_max_con=5", `"pool_max_con" is not`},
		{"lb:pw@h/lb?pool_max_conns=many", `cannot parse pool_max_conns`},
		{"lb:pw@h/lb?pool_max_conns=0", `pool_max_conns too small`},
		{"lb:pw@h/lb?pool_max_conn_lifetime=5", `cannot parse pool_max_conn_lifetime`},
		{"lb:pw@h/lb?connect_timeout=soon", `invalid connect_timeout`},
		{"lb:pw@h/lb?min_protocol_version=4", `invalid min_protocol_version`},
		{"lb:pw@h/lb?require_auth=trust", `invalid require_auth`},
		{"lb:pw@h/lb?default_query_exec_mode=fast", `invalid default_query_exec_mode`},
		{"lb:pw@h/lb?service=none&servicefile=" + dir + "/missing", `failed to read service file: ` + dir + "/missing"},
		{"lb:pw@h/lb?host=a,b&port=1,2,3", "could not match 3 port numbers to 2 hosts"},
		{"lb:pw@h/lb?port=99999", `ports are numbers from 1 to 65535; port is "99999"`},
		{"lb:pw@h:99999/lb", "ports are numbers from 1 to 65535"},
		{"lb:pw@h:0/lb", "ports are numbers from 1 to 65535"},
		{"lb:pw@h1:1,h2:two,h3:3/lb", "ports are numbers from 1 to 65535"},
		{"lb:pw@[::1]:two/lb", "ports are numbers from 1 to 65535"},
		{"lb:pw@[::1/lb", "looking for matching"},
		{"lb:pw@h/lb?sslmode", "name=value"},
		{"lb:pw@h/lb?sslmode=a=b", "name=value"},
		{"lb:pw@h/lb?sslmode=%zz", `percent-encoded (& is %26, = is %3D); the parameter "sslmode" is not`},
		{"lb:pw@h/%zz", "; the database is not"},
		{"l%zz:pw@h/lb", "; the user is not"},
		{"lb:pw@%zz/lb", "; the host is not"},
		{"lb:p%w@h/lb", "; the password is not"},
		{"lb:p w@h/lb", "; the password is not"},
		{"lb:p@w@h/lb", "@ is %40"},
		{"lb:p/w@h/lb", "/ is %2F"},
		{"lb:p?w@h/lb", "percent-encoded"},
		{"lb:p#w@h/lb", "# is %23"},
		{"h?user=lb&password=p@w", "@ is %40"},
		{"lb%3Apw@h/lb", "whose user has no colon"},
		{"lb%3apw:pw@h/lb", "whose user has no colon"},
		{"h/lb?user=lb:pw", "whose user has no colon"},
		{"h/lb?user=lb%3Apw", "whose user has no colon"},
		{"lb:p/x?sslmode=w@h/lb", "@ is %40"},
		{"h/lb?password=p&w", "name=value"},
		{"h/lb?password=p&w=x", "& in a password is %26"},
		{"h/lb?password=p=w", "name=value"},
		{"h/lb?password=p%w", `the parameter "password" is not`},
		{"h/lb?PASSWORD=pw", `"PASSWORD" is not`},
	} {
		for _, scheme := range []string{"postgres://", "postgresql://"} {
			got := told(scheme + c.url)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%s%s: told %q, want %q", scheme, c.url, got, c.want)
			}
		}
	}
}

// urlFaults are what can be wrong with a URL beside its password, as it stands behind the host.
var urlFaults = []string{
	"", ":port/lb", ":99999/lb", ":1,h2:two/lb", "/lb?sslmode=bogus", "/lb?sslrootcert=/missing.pem", "/lb?sslcert=/missing.pem&sslkey=/missing.key",
	"/lb?sslmod=require", "/lb?sslmode", "/lb?a=b=c", "/lb?x=%zz", "/%zz", "%zz/lb", "/lb?pool_max_conns=x", "/lb?host=a,b&port=1,2,3", "/lb?port=x",
	"/lb?target_session_attrs=x", "/lb?connect_timeout=x", "/lb?application_name=a@b&sslmode=bogus", "?sslmode=bogus", "#x", "/lb#x?sslmode=bogus",
	"/lb?service=none&servicefile=/missing", "/lb?min_protocol_version=9", ",,:,/lb?sslmode=bogus", "[::1", "[::1]x:1/lb",
}

// placements are where a password stands, •, and a fault, ◊.
var placements = []string{
	"postgres://lb:•@h◊", "postgresql://:•@h◊", "postgres://•@h◊", "postgres://lb:•◊", "postgres://lb:•/db◊", "postgres://lb:•:1◊",
	"postgres://lb@h◊&password=•", "postgres://lb@h◊&password=•&application_name=x", "postgres://lb@h◊?password=•", "postgres://lb@h/lb?sslpassword=•&sslmode=bogus",
	"postgres://lb@h/lb?password=•&sslrootcert=/missing.pem", "postgres://lb@h/lb?pass%77ord=•&sslmode=bogus", "postgres://lb@h/lb? password=•&sslmode=bogus",
	"postgres://h?user=lb&password=•◊", "postgres://h/lb?password=•&%zz=1", "postgres://h/lb?password=•=&sslmode=bogus", "postgres://lb:•@h/lb?password=•&sslmode=bogus",
	"host=h user=lb password=• sslmode=bogus", "host=h user=lb password='•' sslmode=bogus◊", "user=lb password=•://h◊", "lb:•@h◊", "mysql://lb:•@h◊", "postgres:lb:•@h◊", "Postgres://lb:•@h◊",
	"//lb:•@h◊", "file:postgres://lb:•@h◊", "postgres://lb%3A•@h◊", "postgres://h/lb?user=lb:•&sslmode=bogus", "jdbc:postgresql://h/lb?user=lb&password=•◊",
}

// TestPasswordsAreNeverTold makes passwords of characters that none of our messages contains, so
// that any of them in a message comes from a password.
func TestPasswordsAreNeverTold(t *testing.T) {
	const letters = "QXZJ79"
	character := rapid.SampledFrom([]rune(letters + letters + "/?#@%&=:+ ,[]!;'\\|<é"))
	rapid.Check(t, func(t *rapid.T) {
		password := string(rapid.SliceOfN(character, 3, 12).Draw(t, "password"))
		store := strings.Replace(rapid.SampledFrom(placements).Draw(t, "placement"), "◊", rapid.SampledFrom(urlFaults).Draw(t, "fault"), 1)
		written := password
		switch rapid.IntRange(0, 2).Draw(t, "encoding") {
		case 1:
			written = url.QueryEscape(password)
		case 2:
			written = url.PathEscape(password)
		}
		text := told(strings.ReplaceAll(store, "•", written))
		for _, form := range []string{password, written} {
			for i := range len(form) - 2 {
				if piece := form[i : i+3]; strings.ContainsAny(piece, letters) && strings.Contains(text, piece) {
					t.Fatalf("%s with the password %q, written %q: %q is told in %q", store, password, written, piece, text)
				}
			}
		}
	})
}

// TestCauseIsToldBesideAPassword: whatever is in the password, once it is encoded.
func TestCauseIsToldBesideAPassword(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := url.QueryEscape(rapid.StringMatching(`[ -~äß]{1,12}`).Draw(t, "password"))
		password = strings.ReplaceAll(password, "+", "%20")
		for _, store := range []string{"postgres://lb:P@h/lb?sslmode=bogus", "postgres://h/lb?password=P&sslmode=bogus", "postgres://h/lb?sslmode=bogus&sslpassword=P"} {
			if text := told(strings.Replace(store, "P", password, 1)); !strings.Contains(text, `sslmode is one of`) {
				t.Fatalf("%s with %s: %q", store, password, text)
			}
			if text := told(strings.Replace(strings.Replace(store, "P", password, 1), "bogus", "disable", 1)); text != "" {
				t.Fatalf("%s with %s: %q", store, password, text)
			}
		}
	})
}
