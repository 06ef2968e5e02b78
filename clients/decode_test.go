package clients

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

func TestBodiesRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	const (
		malformed = http.StatusBadRequest
		invalid   = http.StatusUnprocessableEntity
	)
	client := func(id, capacity, rate string) string {
		return fmt.Sprintf(`{"ip_address":%s,"capacity":%s,"rate_per_second":%s}`, id, capacity, rate)
	}
	const id = `"10.0.0.1"`
	for _, c := range []struct {
		body   string
		status int
		field  string
		text   string
	}{
		{"", malformed, "", "not JSON"},
		{"{", malformed, "", "byte 1"},
		{`{"ip_address":"10.0.0.1",}`, malformed, "", "not JSON"},
		{`{'ip_address':"10.0.0.1"}`, malformed, "", "not JSON"},
		{client(id, "1", "1") + "x", malformed, "", "after top-level value"},
		{client(id, "1", "1") + client(id, "1", "1"), malformed, "", "after top-level value"},
		{client(id, "1", "NaN"), malformed, "", "not JSON"},
		{client(id, "01", "1"), malformed, "", "not JSON"},
		{client(id, "+1", "1"), malformed, "", "not JSON"},
		{strings.Repeat("[", 20000), malformed, "", "not JSON"},
		{"[]", invalid, "", "one JSON object"},
		{"null", invalid, "", "one JSON object"},
		{`"x"`, invalid, "", "one JSON object"},
		{"{}", invalid, "capacity", "missing"},
		{`{"capacity":1,"rate_per_second":1}`, invalid, "ip_address", `missing, and so is "name"`},
		{`{"ip_address":"10.0.0.1","rate_per_second":1}`, invalid, "capacity", "missing"},
		{`{"ip_address":"10.0.0.1","capacity":1}`, invalid, "rate_per_second", "missing"},
		{`{"ip_address":"10.0.0.1","capacity":1,"capacity":1,"rate_per_second":1}`, invalid, "capacity", "twice"},
		{`{"ip_address":"10.0.0.1","capacity":1,"\u0063apacity":1,"rate_per_second":1}`, invalid, "capacity", "twice"},
		{`{"ip_address":"10.0.0.1","Capacity":1,"rate_per_second":1}`, invalid, "Capacity", "unknown"},
		{`{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1,"burst":{"a":[1]}}`, invalid, "burst", "unknown"},
		{client(id, "0", "1"), invalid, "capacity", "capacity is 0; allowed is"},
		{client(id, "-1", "1"), invalid, "capacity", "capacity is -1;"},
		{client(id, "1.5", "1"), invalid, "capacity", "1.5; allowed is a whole number"},
		{client(id, "1.0", "1"), invalid, "capacity", "without fraction or exponent"},
		{client(id, "1e2", "1"), invalid, "capacity", "without fraction or exponent"},
		{client(id, "1e18", "1"), invalid, "capacity", "1e18"},
		{client(id, "99999999999999999999", "1"), invalid, "capacity", "99999999999999999999"},
		{client(id, `"100"`, "1"), invalid, "capacity", `"100"`},
		{client(id, "null", "1"), invalid, "capacity", "null"},
		{client(id, "[1]", "1"), invalid, "capacity", "[1]"},
		{client(id, "1", "0"), invalid, "rate_per_second", "rate_per_second is 0; allowed is"},
		{client(id, "1", "-0.5"), invalid, "rate_per_second", "-0.5"},
		{client(id, "1", "1e999"), invalid, "rate_per_second", "1e999"},
		{client(id, "1", "1e-999"), invalid, "rate_per_second", "rate_per_second is 0;"},
		{client(id, "1", "1e10"), invalid, "rate_per_second", "1e+10"},
		{client(id, "1", `"10"`), invalid, "rate_per_second", `"10"`},
		{client(id, "1", "null"), invalid, "rate_per_second", "null"},
		{client(id, "1", "true"), invalid, "rate_per_second", "true"},
		{client("167772161", "1", "1"), invalid, "ip_address", "167772161"},
		{client("null", "1", "1"), invalid, "ip_address", `missing, and so is "name"`},
		{`{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1,"created_at":1,"created_at":1}`, invalid, "created_at", "twice"},
		{`{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1,"created_at":[}`, malformed, "", "not JSON"},
		{`{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1,"Created_at":1}`, invalid, "Created_at", "unknown"},
		{`{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1,"last_seen":null}`, invalid, "last_seen", "unknown"},
		{client(`""`, "1", "1"), invalid, "ip_address", `""`},
		{client(`"010.0.0.1"`, "1", "1"), invalid, "ip_address", "leading zeros"},
		{client(`"10.0.0"`, "1", "1"), invalid, "ip_address", "10.0.0"},
		{client(`"fe80::1%eth0"`, "1", "1"), invalid, "ip_address", "without zone"},
		{client(`"fe80::%eth0/64"`, "1", "1"), invalid, "ip_address", "without zone"},
		{client(`"10.0.0.1/8"`, "1", "1"), invalid, "ip_address", "10.0.0.0/8"},
		{client(`"::ffff:10.0.0.1/104"`, "1", "1"), invalid, "ip_address", "10.0.0.0/8"},
		{client(`"`+strings.Repeat("ü", 5000)+`"`, "1", "1"), invalid, "ip_address", "ü…"},
	} {
		a.refuse(c.status, c.field, c.text, "POST", "/", c.body)
	}
	if got, _ := a.listAll(1000); len(got) != 0 || a.limiter.Registered() != 0 {
		t.Errorf("refused calls left %v", got)
	}
}

// TestTermsRefused covers the optional fields and those that identify the client.
func TestTermsRefused(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	const address, named = `"ip_address":"10.0.0.1"`, `"name":"acme","api_key":"the key of acme"`
	for _, c := range []struct{ fields, field, text string }{
		{address + `,"max_in_flight":0`, "max_in_flight", "max_in_flight is 0; allowed is a whole number from 1 to 1000000000"},
		{address + `,"max_in_flight":-1`, "max_in_flight", "-1"},
		{address + `,"max_in_flight":1000000001`, "max_in_flight", "1000000001"},
		{address + `,"max_in_flight":1.0`, "max_in_flight", "without fraction"},
		{address + `,"max_in_flight":"5"`, "max_in_flight", `"5"`},
		{address + `,"max_in_flight":true`, "max_in_flight", "true"},
		{named + `,"max_in_flight":0`, "max_in_flight", "null for no bound"},
		{address + `,"shadow":1`, "shadow", "shadow is 1; allowed is true or false"},
		{address + `,"shadow":"true"`, "shadow", "true or false"},
		{address + `,"shadow":{}`, "shadow", "true or false"},
		{address + `,"trial":false`, "trial", "trial is false; allowed is an object"},
		{address + `,"trial":[]`, "trial", `"rate_per_second"`},
		{address + `,"trial":{}`, "trial.capacity", "missing"},
		{address + `,"trial":{"capacity":1}`, "trial.rate_per_second", "missing"},
		{address + `,"trial":{"rate_per_second":1}`, "trial.capacity", "missing"},
		{address + `,"trial":{"capacity":0,"rate_per_second":0}`, "trial.capacity", "trial.capacity is 0; allowed is a whole number from 1"},
		{address + `,"trial":{"capacity":0,"rate_per_second":1}`, "trial.capacity", "trial.capacity is 0;"},
		{address + `,"trial":{"capacity":1,"rate_per_second":0}`, "trial.rate_per_second", "trial.rate_per_second is 0;"},
		{address + `,"trial":{"capacity":1.5,"rate_per_second":1}`, "trial.capacity", "trial.capacity is 1.5; allowed is a whole number from 1 to 999999999999999, in digits"},
		{address + `,"trial":{"capacity":10000000000000000000,"rate_per_second":1}`, "trial.capacity", "from 1 to 999999999999999, in digits"},
		{address + `,"trial":{"capacity":1,"rate_per_second":1e400}`, "trial.rate_per_second", "1e400; allowed is a number above 0, up to 1000000000"},
		{address + `,"trial":{"capacity":null,"rate_per_second":1}`, "trial.capacity", "null"},
		{address + `,"trial":{"capacity":1,"rate_per_second":null}`, "trial.rate_per_second", "null"},
		{address + `,"trial":{"capacity":8000000,"rate_per_second":1e-12}`, "trial.rate_per_second", "30 days"},
		{address + `,"trial":{"capacity":1,"rate_per_second":1,"shadow":true}`, "trial.shadow", "unknown"},
		{address + `,"trial":{"capacity":1,"rate_per_second":1,"created_at":null}`, "trial.created_at", "unknown"},
		{address + `,"trial":{"capacity":1,"capacity":1,"rate_per_second":1}`, "trial.capacity", "twice"},
		{address + `,` + named, "name", "one of the two"},
		{address + `,"name":"acme"`, "name", "one of the two"},
		{address + `,"api_key":"the key of acme"`, "api_key", "without name"},
		{`"api_key":"the key of acme"`, "api_key", "without name"},
		{`"name":"acme"`, "api_key", "missing"},
		{`"name":"acme","api_key":null`, "api_key", "missing"},
		{`"name":null,"api_key":"the key of acme"`, "api_key", "without name"},
	} {
		a.refuse(http.StatusUnprocessableEntity, c.field, c.text, "POST", "/", `{"capacity":1,"rate_per_second":1,`+c.fields+`}`)
	}
	for _, name := range []string{
		`""`, `5`, `"."`, `".."`, `"a b"`, `"a/8"`, `"a:b"`, `"ü"`, `"aü"`, `"10.0.0.1"`, `"010.0.0.1"`, `"1.2.3.999"`, `"a\n"`,
		`"` + strings.Repeat("n", 129) + `"`,
	} {
		a.refuse(http.StatusUnprocessableEntity, "name", "1 to 128 letters", "POST", "/",
			`{"name":`+name+`,"api_key":"the key of acme","capacity":1,"rate_per_second":1}`)
	}
	for _, key := range []string{`12345678`, `true`, `["12345678"]`} {
		a.refuse(http.StatusUnprocessableEntity, "api_key", "api_key is no string; allowed is a string of 8 to 256 visible", "POST", "/",
			`{"name":"acme","api_key":`+key+`,"capacity":1,"rate_per_second":1}`)
	}
	for _, key := range []string{
		`""`, `"1234567"`, `" 12345678"`, `"12345678 "`, `"1234  5678"`, `"1234\t5678"`,
		`"1234\n5678"`, `"1234\u00005678"`, `"1234\u007f5678"`, `"schlüssel"`, `"        "`, `"` + strings.Repeat("k", limiter.MaxKeySize+1) + `"`,
	} {
		a.refuse(http.StatusUnprocessableEntity, "api_key", "bytes that cannot be a key; allowed is a string of 8 to 256 visible", "POST", "/",
			`{"name":"acme","api_key":`+key+`,"capacity":1,"rate_per_second":1}`)
	}
	if got, _ := a.listAll(1000); len(got) != 0 {
		t.Errorf("refused calls left %v", got)
	}
}

func TestNamesAndKeysAccepted(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for name, key := range map[string]string{
		"a": "12345678", "Z": "Bearer abc", "fe80": "!~!~!~!~", "a.b_c-D9": "a b c d e f", "1st": "one two three", "-a": "@+@+@+@+", "jane+eu@example.com": "for an e-mail address", "5f1c0e9a-1b9d-4c0f-8f0b-0a1b2c3d4e5f": "for a UUID", "42": "for a number", "a..": "Basic dXNlcjpwYXNzd29yZA==",
		strings.Repeat("n", 128): strings.Repeat("k", limiter.MaxKeySize),
	} {
		if created := a.createNamed(name, key, 5); !reflect.DeepEqual(created, a.get("/"+name)) || created.Name != name {
			t.Errorf("created %+v as %s", created, name)
		}
	}
}

func TestBodiesAccepted(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for _, body := range []string{
		`{"ip_address":"10.0.0.1","capacity":1000000000,"rate_per_second":1000000000}`,
		`{"ip_address":"10.0.0.2","capacity":5,"rate_per_second":0.1}`,
		`{"ip_address":"10.0.0.3","capacity":5,"rate_per_second":1e-1}`,
		"\n{ \"rate_per_second\" : 10.0 ,\t\"capacity\":100, \"ip_address\":\"10.0.0.\\u0034\" }\r\n",
		`{"ip_address":"10.0.0.5/32","capacity":1,"rate_per_second":0.01}` + strings.Repeat(" ", rest.MaxBody-64),
	} {
		a.call(http.StatusCreated, "POST", "", body)
	}
	if got, _ := a.listAll(1000); len(got) != 5 || a.limiter.Registered() != 5 {
		t.Errorf("stored are %v", got)
	}
}

// TestContentTypes sends what curl -d does by itself, among others.
func TestContentTypes(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	for i, contentType := range []string{"application/x-www-form-urlencoded", "application/json; charset=utf-8", "text/plain"} {
		body := fmt.Sprintf(`{"ip_address":"10.0.0.%d","capacity":1,"rate_per_second":1}`, i)
		response, err := http.Post(a.base+collection, contentType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusCreated {
			t.Errorf("%s is answered %d", contentType, response.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestBodyCutShort(t *testing.T) {
	a, _ := startAPI(t, fileConfig(t))
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"3\r\n{\"i\r\nno chunk\r\n", collection)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("a broken chunk is answered %d", response.StatusCode)
	}
}

// FuzzDecodeClient checks that encoding/json reads an accepted body alike, and that every error is
// a fault.
func FuzzDecodeClient(f *testing.F) {
	f.Add([]byte(`{"ip_address":"10.0.0.1","capacity":100,"rate_per_second":0.5}`))
	f.Add([]byte(`{"ip_address":null,"capacity":1e2,"rate_per_second":-0,"x":[{}]} `))
	f.Add([]byte(`{"name":"acme","api_key":"Bearer abc","capacity":1,"rate_per_second":1,"max_in_flight":null,` +
		`"shadow":true,"trial":{"capacity":1,"rate_per_second":2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeClient(body)
		if err != nil {
			if _, ok := errors.AsType[*rest.Fault](err); !ok {
				t.Fatalf("the error is a %T: %v", err, err)
			}
			return
		}
		var want struct {
			Name          string            `json:"name"`
			Plan          string            `json:"plan"`
			Capacity      int64             `json:"capacity"`
			RatePerSecond float64           `json:"rate_per_second"`
			MaxInFlight   int64             `json:"max_in_flight"`
			Shadow        bool              `json:"shadow"`
			Each          bool              `json:"each"`
			Blocked       bool              `json:"blocked"`
			Trial         limitJSON         `json:"trial"`
			Labels        map[string]string `json:"labels"`
			APIKey        *string           `json:"api_key"`
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		own := limiter.Terms{
			Limit:       limiter.Limit{Capacity: want.Capacity, RatePerSecond: want.RatePerSecond},
			MaxInFlight: want.MaxInFlight, Shadow: want.Shadow, Each: want.Each, Blocked: want.Blocked, Trial: limiter.Limit(want.Trial),
		}
		if got.id.Name != want.Name || got.plan != want.Plan || got.own != own || !maps.Equal(got.labels, want.Labels) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if want.APIKey != nil && (*got.keys)[0].digest != limiter.DigestKey([]byte(*want.APIKey)) {
			t.Fatalf("got the digest %x of another key", (*got.keys)[0].digest)
		}
	})
}

func TestBodyTooLarge(t *testing.T) {
	const client = `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`
	for _, streaming := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming=%t", streaming), func(t *testing.T) {
			u := testUsecase(store.OpenMemory(store.Bounds{}), testLimiter())
			base, stop := serve(t, (&controller{usecase: u, readsKeys: keysAreRead}).register, streaming)
			defer stop()
			for name, body := range map[string]io.Reader{
				"sized":   strings.NewReader(client + strings.Repeat(" ", 6*rest.MaxBody)),
				"chunked": io.MultiReader(strings.NewReader(client), strings.NewReader(strings.Repeat(" ", rest.MaxBody))),
			} {
				response, err := http.Post(base+collection, "application/json", body)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				text, _ := io.ReadAll(response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), "1048576") {
					t.Errorf("%s: %d %s", name, response.StatusCode, text)
				}
			}
			http.DefaultClient.CloseIdleConnections()
			if got := send(t, "POST", base+collection, client); got.status != http.StatusCreated {
				t.Errorf("the next call is %d %s", got.status, got.body)
			}
		})
	}
}
