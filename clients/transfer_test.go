package clients

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"loadbalancer/clients/store"
)

const (
	ndjson  = "Content-Type: " + ndjsonType
	csvBody = "Content-Type: " + csvType + "; charset=utf-8"
)

// importAll imports and returns the report.
func (a *api) importAll(query, contentType, body string) importReport {
	a.t.Helper()
	var r importReport
	a.decode(a.call(http.StatusOK, "POST", importPath+query, body, contentType), &r)
	return r
}

func (r *importReport) String() string {
	text := fmt.Sprintf("read %d created %d changed %d unchanged %d bad %d done %d:", r.Read, r.Created, r.Changed, r.Unchanged, r.BadCount, r.Done)
	for _, b := range r.Bad {
		text += fmt.Sprintf(" %d(%s)", b.Line, b.Field)
	}
	return text
}

// createWhole makes clients with all that a client may have.
func (a *api) createWhole() {
	a.call(http.StatusCreated, "PUT", gold, `{"capacity":50,"rate_per_second":5}`)
	for _, body := range []string{
		`{"ip_address":"10.0.0.1","capacity":7,"rate_per_second":0.1}`,
		`{"ip_address":"10.0.0.0/8","plan":"gold","rate_per_second":1e-1,"max_in_flight":3,"shadow":true,"each":true}`,
		`{"ip_address":"2001:db8::/32","blocked":true,"expires_at":"2090-01-01T00:00:00.5Z"}`,
		`{"name":"acme","api_keys":[{"api_key":"the 1st key of acme"},{"id":"second","api_key":"the 2nd key of acme","expires_at":"2090-01-01T00:00:00Z"}],` +
			`"plan":"gold","labels":{"region":"eu","note":"a \"b\", <c> & d; é"}}`,
		`{"name":"alice@example.com","api_key":"the key of alice","capacity":999999999999999,"rate_per_second":1000000000,"trial":{"capacity":1,"rate_per_second":1.5}}`,
	} {
		a.call(http.StatusCreated, "POST", "/", body)
	}
}

// TestExportIsImported takes all clients out of one store and into another.
func TestExportIsImported(t *testing.T) {
	for accept, contentType := range map[string]string{"*/*": ndjson, "text/csv": csvBody} {
		eachStore(t, func(t *testing.T, cfg Config) {
			from, _ := startAPI(t, fileConfig(t))
			from.createWhole()
			exported := from.call(http.StatusOK, "GET", exportPath, "", "Accept: "+accept)
			if got := exported.header.Get("Content-Type"); !strings.Contains(contentType, got) {
				t.Errorf("%s is answered with %s", accept, got)
			}
			to, _ := startAPI(t, cfg)
			to.call(http.StatusCreated, "PUT", gold, `{"capacity":50,"rate_per_second":5}`)
			lines := 5 + strings.Count(contentType, "csv")
			want := fmt.Sprintf("read 5 created 5 changed 0 unchanged 0 bad 0 done %d:", lines)
			for _, query := range []string{"?dry_run=true", "?dry_run=false"} {
				if r := to.importAll(query, contentType, exported.body); r.String() != want {
					t.Errorf("%s: got %s, want %s: %v", query, r.String(), want, r.Bad)
				}
			}
			ids, _ := from.listAll(100)
			for _, id := range ids {
				to.sameButForTimes(timeless(from.call(http.StatusOK, "GET", "/"+id, "").body), timeless(to.call(http.StatusOK, "GET", "/"+id, "").body))
			}
			to.limitedByKey("the 1st key of acme", 50)
			to.limitedByKey("the 2nd key of acme", 50)
			to.limitedByKey("the key of alice", 999999999999999)
			again := fmt.Sprintf("read 5 created 0 changed 0 unchanged 5 bad 0 done %d:", lines)
			version := to.call(http.StatusOK, "GET", "/", "").header.Get("Lb-Version")
			if r := to.importAll("", contentType, exported.body); r.String() != again {
				t.Errorf("the second time: got %s, want %s", r.String(), again)
			}
			if now := to.call(http.StatusOK, "GET", "/", "").header.Get("Lb-Version"); now != version {
				t.Errorf("an import without a change has made version %s of %s", now, version)
			}
		})
	}
}

// timeless removes the times of keys, which are those of the import.
func timeless(shown string) string {
	parts := strings.Split(shown, `"created_at":"`)
	for i := 1; i < len(parts); i++ {
		parts[i] = parts[i][strings.IndexByte(parts[i], '"'):]
	}
	return strings.Join(parts, `"created_at":"2026-01-01T00:00:00Z`)
}

func TestExport(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	if got := a.call(http.StatusOK, "GET", exportPath, ""); got.body != "" || got.header.Get("Content-Type") != ndjsonType {
		t.Errorf("without clients got %v %q", got.header, got.body)
	}
	a.createWhole()
	got := a.call(http.StatusOK, "GET", exportPath+"/", "")
	if lines := strings.Split(got.body, "\n"); len(lines) != 6 || !strings.HasPrefix(lines[0], `{"ip_address":"10.0.0.0/8","plan":"gold"`) ||
		strings.Count(got.body, `"sha256":"`) != 3 || got.header.Get("Lb-Version") == "" {
		t.Errorf("got %v %s", got.header, got.body)
	}
	rows, err := csv.NewReader(strings.NewReader(a.call(http.StatusOK, "GET", exportPath, "", "Accept: text/csv").body)).ReadAll()
	if err != nil || len(rows) != 6 || !slices.Equal(rows[0], exportedColumns) || rows[4][12] != `{"note":"a \"b\", <c> & d; é","region":"eu"}` {
		t.Errorf("got %q, %v", rows, err)
	}
}

func TestPrefersCSV(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/csv": true, "TEXT/CSV; q=0.5": true, "text/csv;q=0": false, "text/*": false,
		"application/x-ndjson, text/csv": false, "application/x-ndjson;q=0.5, text/csv": true, "text/csv;q=0.1, */*": true, "text/html, text/csv;header=present": true, ",;text/csv": false,
	} {
		if got := prefersCSV(accept); got != want {
			t.Errorf("%q: %t, want %t", accept, got, want)
		}
	}
}

func TestImportReplaces(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		a.call(http.StatusCreated, "POST", "/", `{"name":"acme","api_key":"the key of acme","capacity":7,"rate_per_second":1,"max_in_flight":3}`)
		a.create("10.0.0.1", 7)
		a.create("10.0.0.2", 7)
		r := a.importAll("", ndjson, strings.Join([]string{
			`{"name":"acme","capacity":8,"rate_per_second":1}`, // keeps its key, as by PUT
			``,
			`{"ip_address":"10.0.0.1","capacity":7,"rate_per_second":10}`,
			"  \r",
			`{"ip_address":"10.0.0.3","capacity":9,"rate_per_second":1}`,
			`{"ip_address":"10.0.0.3","capacity":10,"rate_per_second":1}`,
			`{"name":"absent","capacity":8,"rate_per_second":1}`,
			`{"ip_address":"10.0.0.2","api_key":"the key of 10.0.0.2","capacity":8,"rate_per_second":1}`,
			`{"ip_address":"10.0.0.2","capacity":0,"rate_per_second":1}`,
			`{"ip_address":"10.0.0.2/8","capacity":1,"rate_per_second":1}`,
			`{"ip_address":"10.0.0.2","plan":"gold"}`,
			`{"ip_address":"10.0.0.2","each":true,"capacity":1,"rate_per_second":1}`,
			`{"capacity":1,"rate_per_second":1}`,
			`{"ip_address":`,
			`[]`,
			"{\"name\":\"\xff\"}",
		}, "\n"))
		want := "read 14 created 1 changed 2 unchanged 1 bad 10 done 16: 7(api_key) 8(api_key) 9(capacity) 10(ip_address) 11(plan) 12(each) 13(ip_address) 14() 15() 16()"
		if r.String() != want {
			t.Errorf("got %s\nwant %s", r.String(), want)
		}
		if c := a.get("/acme"); c.Capacity != 8 || c.MaxInFlight != 0 || len(c.Keys) != 1 {
			t.Errorf("acme is %+v", c)
		}
		a.limitedByKey("the key of acme", 8)
		a.limited("10.0.0.1", 7)
		a.limited("10.0.0.2", 7)
		a.limited("10.0.0.3", 10)
		for i, detail := range []string{"missing", "without name", "allowed is a whole number", "10.0.0.0/8", "plan", "no range", "missing", "the line is not JSON", "the line is not an object", "not UTF-8"} {
			if !strings.Contains(r.Bad[i].Detail, detail) {
				t.Errorf("line %d: got %q, want %q in it", r.Bad[i].Line, r.Bad[i].Detail, detail)
			}
		}
	})
}

// TestImportPassesKeysOn has keys that pass between the clients of a batch, and some that cannot.
func TestImportPassesKeysOn(t *testing.T) {
	client := func(name string, keys ...string) string {
		var list []string
		for _, key := range keys {
			list = append(list, `{"api_key":"the key `+key+`"}`)
		}
		return `{"name":"` + name + `","api_keys":[` + strings.Join(list, ",") + `],"capacity":` + fmt.Sprint(name[0]) + `,"rate_per_second":1}`
	}
	for name, c := range map[string]struct {
		lines []string
		bad   string
		holds string // who has the keys k, l and m
	}{
		"a swap":               {[]string{client("a", "l"), client("b", "k")}, "", "b a c"},
		"a ring":               {[]string{client("a", "l"), client("b", "m"), client("c", "k")}, "", "c a b"},
		"from an earlier line": {[]string{client("a", "n"), client("d", "k")}, "", "d b c"},
		"from a later line":    {[]string{client("d", "k"), client("a", "n")}, "", "d b c"},
		"to two":               {[]string{client("a", "n"), client("d", "k"), client("e", "k")}, "3", "d b c"},
		"of no line":           {[]string{client("d", "k")}, "1", "a b c"},
		"kept":                 {[]string{client("d", "k"), client("a", "k", "n")}, "1", "a b c"},
		"from a bad line":      {[]string{client("d", "k"), client("a", "l")}, "1 2", "a b c"},
		"from a bad line, on":  {[]string{client("e", "m"), client("c", "k"), client("a", "l")}, "1 2 3", "a b c"},
		"a new one to two":     {[]string{client("d", "n"), client("e", "n")}, "2", "a b c"},
		"twice in one":         {[]string{client("d", "n", "n")}, "1", "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, cfg Config) {
				if cfg.Store != memoryStore && !strings.Contains(name, "ring") && !strings.Contains(name, "bad") {
					return
				}
				a, _ := startAPI(t, cfg)
				a.importAll("", ndjson, client("a", "k")+"\n"+client("b", "l")+"\n"+client("c", "m"))
				var bad []string
				r := a.importAll("?dry_run=true", ndjson, strings.Join(c.lines, "\n"))
				real := a.importAll("", ndjson, strings.Join(c.lines, "\n"))
				if real.String() != r.String() {
					t.Errorf("got %s, and by dry run %s", real.String(), r.String())
				}
				for _, b := range r.Bad {
					bad = append(bad, fmt.Sprint(b.Line))
				}
				var holds []string
				for _, key := range []string{"k", "l", "m"} {
					holds = append(holds, string(rune(admit(a.limiter, "192.0.2.1", "the key "+key).Capacity)))
				}
				if strings.Join(bad, " ") != c.bad || strings.Join(holds, " ") != c.holds {
					t.Errorf("bad are %v, the keys have %v; want %s and %s", r.Bad, holds, c.bad, c.holds)
				}
			})
		})
	}
}

// TestImportInBatches has more lines than a batch, and more bad ones than a report.
func TestImportInBatches(t *testing.T) {
	eachStore(t, func(t *testing.T, cfg Config) {
		a, _ := startAPI(t, cfg)
		var body strings.Builder
		for i := range 3500 {
			fmt.Fprintf(&body, `{"ip_address":"10.0.%d.%d","capacity":%d,"rate_per_second":1}`+"\n", i/250, i%250, i%2)
		}
		r := a.importAll("", ndjson, body.String())
		if r.Read != 3500 || r.Created != 1750 || r.BadCount != 1750 || len(r.Bad) != maxBadLines || r.Done != 3500 || r.Bad[999].Line != 1999 {
			t.Errorf("got %d bad lines, the last in the report %+v, of %+v", len(r.Bad), r.Bad[len(r.Bad)-1], r.String()[:100])
		}
		if ids, _ := a.listAll(1000); len(ids) != 1750 {
			t.Errorf("%d clients are there", len(ids))
		}
	})
}

func TestImportOfCSV(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	a.call(http.StatusCreated, "PUT", gold, `{"capacity":50,"rate_per_second":5}`)
	r := a.importAll("", csvBody, "\ufeffname, api_key ,ip_address,capacity,rate_per_second,max_in_flight,shadow,trial.rate_per_second,labels.region,plan,trial.capacity,labels.a/b,expires_at,blocked,created_at\r\n"+
		`acme,the key of acme,,7,0.5,3,TRUE,1,eu,,5,"a ""b"", c",2090-01-01T00:00:00Z,false,yesterday`+"\r\n"+
		`,,10.0.0.0/8,,,,,,,gold,,,,,`+"\r\n"+
		"\r\n"+
		`,,10.0.0.1,7,,,,,,,,,,,`+"\r\n"+
		`,,10.0.0.1,seven,1,,,,,,,,,,`+"\r\n"+
		`,,10.0.0.1,7,1,,yes,,,,,,,,`+"\r\n"+
		`,,10.0.0.1,7,1,,,,,,5,,,,`+"\r\n"+
		`,,10.0.0.1,7,1`+"\r\n"+
		`,,"10.0.0.1,7,1,,,,,,,,,,`+"\r\n"+
		`,,10.0".0.1,7,1,,,,,,,,,,`+"\r\n"+
		`"x"y,,10.0.0.1,7,1,,,,,,,,,,`+"\r\n"+
		",,10.0.0.1,7,1,,,,\xff,,,,,,\r\n"+
		`,,10.0.0.1,1e2,1,,,,,,,,,,`+"\r\n"+
		`,,10.0.0.1,"{""a"":1}",1,,,,,,,,,,`+"\r\n"+
		`1; DROP TABLE clients,,,7,1,,,,,,,,,,`)
	want := "read 14 created 2 changed 0 unchanged 0 bad 12 done 16: 5(rate_per_second) 6(capacity) 7(shadow) 8(trial.rate_per_second) 9() 10() 11() 12() 13() 14(capacity) 15(capacity) 16(name)"
	if r.String() != want {
		t.Errorf("got %s\nwant %s\n%+v", r.String(), want, r.Bad)
	}
	c := a.get("/acme")
	c.Keys, c.CreatedAt, c.UpdatedAt = nil, c.CreatedAt.Truncate(0), c.CreatedAt
	if got := string(mustJSON(c)); !strings.HasPrefix(got, `{"name":"acme","capacity":7,"rate_per_second":0.5,"max_in_flight":3,"shadow":true,`+
		`"trial":{"capacity":5,"rate_per_second":1},"labels":{"a/b":"a \"b\", c","region":"eu"},"expires_at":"2090-01-01T00:00:00Z"`) {
		t.Errorf("acme is %s", got)
	}
	a.limited("10.1.1.1", 50)
	for header, text := range map[string]string{
		"": "empty", "\n\n": "empty", "name;capacity": "unknown", "burst": "unknown", "trial": "unknown", "labels.a b": "unknown",
		"name,name": "twice", "labels.a,labels.a": "twice", "labels,labels.a": "twice", `"name`: "not CSV", "name,": "unknown",
		strings.Repeat("x", 1<<20+1): "too long",
	} {
		a.refuse(http.StatusUnprocessableEntity, map[string]string{"name;capacity": "name;capacity", "burst": "burst", "trial": "trial",
			"labels.a b": "labels.a b", "name,name": "name", "labels.a,labels.a": "labels.a", "labels,labels.a": "labels.a"}[header],
			text, "POST", importPath, header+"\n", csvBody)
	}
}

func TestImportRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	const line = `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`
	for _, contentType := range []string{"", "application/json", "application/x-www-form-urlencoded", "text/plain", "application/x-ndjson-2"} {
		a.refuse(http.StatusUnsupportedMediaType, "Content-Type", ndjsonType, "POST", importPath, line, "Content-Type: "+contentType)
	}
	a.refuse(http.StatusUnprocessableEntity, "dry_run", "true or false", "POST", importPath+"?dry_run=1", line, ndjson)
	if r := a.importAll("", ndjson, "\n"); r.String() != "read 0 created 0 changed 0 unchanged 0 bad 0 done 1:" {
		t.Errorf("nothing is %s", r.String())
	}
	long := strings.Repeat(" ", 1<<20) + line
	if r := a.importAll("/", ndjson, long+"\n"+line); r.String() != "read 2 created 1 changed 0 unchanged 0 bad 1 done 2: 1()" {
		t.Errorf("a long line is %s", r.String())
	}
}

// TestImportWithoutStore has a store that goes away after the first batch.
func TestImportWithoutStore(t *testing.T) {
	s := &failing{Memory: store.OpenMemory(store.Bounds{})}
	u := testUsecase(s, testLimiter())
	base, stop := serve(t, (&controller{usecase: u, readsKeys: keysAreRead}).register, true)
	defer stop()
	a := &api{t: t, base: base}
	var body strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&body, `{"ip_address":"10.0.%d.%d","capacity":1,"rate_per_second":1}`+"\n", i/250, i%250)
	}
	for i, c := range []struct {
		failure error
		members string
	}{{store.ErrClosed, ""}, {store.ErrUnknown, `"outcome":"unknown"`}} {
		writes := 0
		u.use(&counting{keeper: u.keeper(), before: func() {
			if writes++; writes == 2 {
				s.failure = c.failure
			}
		}})
		got := a.call(http.StatusServiceUnavailable, "POST", importPath, body.String(), ndjson)
		counts := []string{`"read":1000,"created":1000,"changed":0,"unchanged":0`, `"read":1000,"created":0,"changed":0,"unchanged":1000`}[i]
		if !strings.Contains(got.body, counts) || !strings.Contains(got.body, `"done":1000}`) || !strings.Contains(got.body, c.members) || got.header.Get("Retry-After") == "" {
			t.Errorf("got %v %s, want %s", got.header, got.body, counts)
		}
		s.failure = nil
	}
}

// counting is a keeper that tells of each write before it begins.
type counting struct {
	keeper
	before func()
}

func (c *counting) write(ctx context.Context, decide func(store.Tx) error) error {
	c.before()
	return c.keeper.write(ctx, decide)
}
