package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"loadbalancer/healthz"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/routes"
)

// schemaFile describes the config file to editors. It is draft 7, which all of them know.
const schemaFile = "docs/config.schema.json"

// schemaWords describe the keys that config.yaml does not explain on their own lines: the sections,
// and the entries of lists that are empty there.
var schemaWords = map[string]string{
	"server":                       "The listener for clients, and their connections.",
	"server.tls":                   "TLS for clients.",
	"server.tls.certificates[0]":   "A certificate with its key.",
	"server.tls.acme":              "Certificates that an authority issues and that renew themselves.",
	"server.tls.acme.domains[0]":   "The name of a host.",
	"management":                   "The listener for operators: the API, the metrics and the state of health.",
	"pools":                        "Backends that serve the same requests, by the name of their pool.",
	"pools.main":                   "Backends that serve the same requests.",
	"pools.main.backends":          "Where the requests go: at least one backend.",
	"pools.main.backends[0]":       "One backend.",
	"pools.main.sticky":            "How clients are kept at their backends.",
	"pools.main.tls":               "TLS towards backends of https://.",
	"pools.main.timeouts":          "How long a backend may take.",
	"pools.main.retry":             "When a request is tried at another backend.",
	"pools.main.retry.statuses[0]": "A status, such as 503.",
	"pools.main.health":            "The checks that find out whether a backend works.",
	"pools.main.queue":             "Where requests wait while every backend is full or out.",
	"pools.main.ejection":          "When a backend goes out because of what requests meet there.",
	"clients.audit":                "How long it is kept who changed what.",
	"management.hosts[0]":          "A host name without port, such as lb.internal.",
	"routes[0]":                    "Sends the requests of a host and path to a pool; the most specific route counts.",
	"routes[0].host":               "host of the requests, without a port, or *.example.com for every name below example.com; none: any",
	"routes[0].path":               "path of the requests: /a is /a and everything below it, /a/ only what is below; none: any",
	"routes[0].methods":            "methods of the requests; none: any",
	"routes[0].methods[0]":         "A method.",
	"routes[0].headers":            "fields that the requests must have, with these values",
	"routes[0].headers.main":       "A value.",
	"routes[0].pool":               "where they go",
	"routes[0].split":              "clients that go to other pools; each client stays in its share",
	"routes[0].split[0]":           "A share of the clients.",
	"routes[0].split[0].pool":      "where they go",
	"routes[0].split[0].percent":   "how many of the clients",
	"routes[0].strip_prefix":       "first segments of the path that the backend does not get",
	"routes[0].request_headers":    "Changes of the fields that backends get.",
	"routes[0].response_headers":   "Changes of the fields that clients get.",

	"routes[0].request_headers.set":        "fields that take the place of all of the same names",
	"routes[0].request_headers.set.main":   "A value.",
	"routes[0].request_headers.remove":     "fields that do not go on",
	"routes[0].request_headers.remove[0]":  "The name of a field.",
	"routes[0].response_headers.set":       "fields that take the place of all of the same names",
	"routes[0].response_headers.set.main":  "A value.",
	"routes[0].response_headers.remove":    "fields that do not go on",
	"routes[0].response_headers.remove[0]": "The name of a field.",

	"limiter":                                "The rate limits of clients.",
	"limiter.default":                        "The limit of each address that is not registered.",
	"limiter.exempt":                         "Requests that take no token, by method or by path.",
	"limiter.exempt.methods[0]":              "A method.",
	"limiter.exempt.paths[0]":                "A path.",
	"server.trusted_proxies[0]":              "An address or a range.",
	"server.tls.certificates[0].certificate": "file with the certificate and its chain, in PEM",
	"server.tls.certificates[0].key":         "file with the certificate's private key, in PEM and without a password",
	"clients":                                "Where the registered clients are kept.",
	"log":                                    "The log on stdout.",
	"management.tokens[0]":                   "A token of the API, with its role.",
	"management.tokens[0].name":              "names the token in log lines",
	"management.tokens[0].role":              "what the token may do",
	"management.tokens[0].token":             "the token as it is sent; or give its sha256",
	"management.tokens[0].sha256":            "SHA-256 of the token, in place of token",
}

// schemaMaker makes the schema of the config file. The structs give it keys and types, config.yaml
// descriptions and defaults, and the faults that wrong values get give what is allowed.
type schemaMaker struct {
	t     *testing.T
	lines []string // of config.yaml
}

// object is a JSON object.
type object = map[string]any

// schema returns the schema of the whole file.
func makeSchema(t *testing.T) object {
	t.Helper()
	text := readFile(t, "config.yaml")
	doc, err := readDocument("config.yaml", []byte(text), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	m := schemaMaker{t, strings.Split(text, "\n")}
	s := m.section(reflect.TypeFor[config](), doc.root, "")
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "Config file of the load balancer lb"
	return s
}

// value returns the schema of the value at a path. n is its node in config.yaml, or nil.
func (m schemaMaker) value(of reflect.Type, n *yaml.Node, path string) object {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	var s object
	switch {
	case isSection(of):
		s = m.section(of, n, path)
	case of == reflect.TypeFor[routes.Values]():
		s = object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": fieldName}, "additionalProperties": m.value(of.Elem(), nil, path+".main")}
		s["additionalProperties"].(object)["type"] = []string{"string", "number", "boolean"}
	case of.Kind() == reflect.Map:
		var first *yaml.Node
		if n != nil {
			first = n.Content[1]
		}
		s = object{"type": "object", "minProperties": 1, "propertyNames": object{"pattern": poolName.String()},
			"additionalProperties": m.value(of.Elem(), first, path+".main")}
	case of.Kind() == reflect.Slice:
		var first *yaml.Node
		if n != nil && len(n.Content) > 0 {
			first = n.Content[0]
		}
		s = object{"type": []string{"array", "null"}, "items": m.value(of.Elem(), first, path+"[0]")}
	default:
		s = m.scalar(of, path)
	}
	m.describe(s, n, path)
	return s
}

// section returns the schema of a section with the keys of a struct.
func (m schemaMaker) section(of reflect.Type, n *yaml.Node, path string) object {
	properties, required, alternatives := object{}, []string{}, []object{}
	fields := fieldsOf(of)
	missing := faultsWith(m.t, path, object{}, " is missing: use ")
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		var value *yaml.Node
		if n != nil {
			value = valueOf(n, key)
		}
		s := m.value(fields[key], value, below(path, key))
		properties[key] = s
		switch _, isMissing := missing[below(path, key)]; {
		case fields[key].Kind() == reflect.Pointer: // an alternative to others
			alternatives = append(alternatives, object{"required": []string{key}})
		case isMissing:
			required = append(required, key)
			if s["items"] != nil {
				s["minItems"] = 1
			}
		}
	}
	s := object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["type"], s["required"] = "object", required
	}
	if len(alternatives) > 0 {
		s["oneOf"] = alternatives
	}
	return s
}

// describe adds what config.yaml says of a value, its default, and what is allowed.
func (m schemaMaker) describe(s object, n *yaml.Node, path string) {
	words := schemaWords[path]
	if n != nil && n.Kind != yaml.MappingNode && !strings.HasSuffix(path, "]") {
		if _, comment, ok := strings.Cut(m.lines[n.Line-1], " # "); ok && words == "" {
			words = comment
		}
		if mark := notDefault.FindStringSubmatch(words); mark != nil {
			words = strings.TrimSuffix(strings.Replace(words, mark[0], "", 1), "; ")
			m.setDefault(s, mark[1])
		} else if n.Kind == yaml.ScalarNode && path != "pools.main.backends[0].url" { // which is required
			m.setDefault(s, n.Value)
		}
	}
	if words == "" {
		m.t.Errorf("%s has no description: add one to schemaWords, or a comment to config.yaml", path)
	}
	words = strings.TrimSuffix(words, ".") + "."
	if allowed := allowedAt(m.t, path); allowed != "" && s["properties"] == nil && !obvious.MatchString(allowed) {
		words += " Use " + strings.TrimSuffix(strings.TrimSuffix(allowed, ": main"), ": "+syscall.ENOENT.Error()) + "."
	}
	s["description"] = words
}

// obvious matches what the type says already.
var obvious = regexp.MustCompile(`^(a list|true or false|names, each .*|one of .*)$`)

// setDefault sets the default of a scalar, as the config file spells it.
func (m schemaMaker) setDefault(s object, text string) {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		m.t.Errorf("the default %s: %v", text, err)
	}
	if s["items"] != nil { // every list is empty by default
		return
	}
	if _, isText := s["type"]; isText || text == "" || text[0] == '0' && len(text) > 1 { // or octal
		value = strings.Trim(text, `"`)
	}
	s["default"] = value
}

// A variable may stand for a value of any type, and an empty value is the default.
var (
	variable = object{"type": "string", "pattern": `\$\{`}
	nothing  = object{"type": "null"}
)

const (
	fieldName       = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
	timePattern     = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	statusesPattern = `^ *[2-9][0-9]{2} *(- *[2-9][0-9]{2} *)?(, *[2-9][0-9]{2} *(- *[2-9][0-9]{2} *)?)*$`
	sizePattern     = `^(0|[1-9][0-9]*) *(KiB|MiB|GiB|TiB)$`
)

var (
	oneOfWords  = regexp.MustCompile(`^one of ([a-z0-9_, ]+)$`)
	rolesWords  = regexp.MustCompile(`^([a-z]+) \([^()]*\) or ([a-z]+) \([^()]*\)$`)
	boundsWords = regexp.MustCompile(`^a (?:whole )?number from (\d+) to (\d+)$`)
)

// scalar returns the schema of a single value.
func (m schemaMaker) scalar(of reflect.Type, path string) object {
	allowed := allowedAt(m.t, path)
	anyOf := func(kinds ...object) object { return object{"anyOf": append(kinds, variable, nothing)} }
	switch kind := of.Kind(); {
	case of == durationType:
		return anyOf(object{"type": "string", "pattern": timePattern})
	case of == reflect.TypeFor[proxy.Size]():
		return anyOf(object{"type": "integer", "minimum": 0}, object{"type": "string", "pattern": sizePattern})
	case of == reflect.TypeFor[listen.Mode]():
		return anyOf(object{"type": "string", "pattern": "^[0-7]{3,4}$"}, object{"type": "integer"})
	case of == reflect.TypeFor[healthz.Statuses]():
		return anyOf(object{"type": "string", "pattern": statusesPattern}, object{"type": "integer", "minimum": 200, "maximum": 999})
	case oneOfWords.MatchString(allowed):
		return anyOf(object{"enum": strings.Split(oneOfWords.FindStringSubmatch(allowed)[1], ", ")})
	case rolesWords.MatchString(allowed):
		return anyOf(object{"enum": rolesWords.FindStringSubmatch(allowed)[1:]})
	case kind == reflect.Bool:
		return anyOf(object{"type": "boolean"})
	case !readsItself(of) && (kind == reflect.Int || kind == reflect.Int64):
		s := object{"type": "integer", "minimum": 0}
		if bounds := boundsWords.FindStringSubmatch(allowed); bounds != nil {
			s["minimum"], s["maximum"] = json.Number(bounds[1]), json.Number(bounds[2])
		}
		return anyOf(s)
	case kind == reflect.Float64 && boundsWords.MatchString(allowed):
		bounds := boundsWords.FindStringSubmatch(allowed)
		return anyOf(object{"type": "number", "minimum": json.Number(bounds[1]), "maximum": json.Number(bounds[2])})
	case kind == reflect.Float64:
		return anyOf(object{"type": "number", "exclusiveMinimum": 0})
	}
	return object{"type": []string{"string", "null"}}
}

// allowedAt returns what the fault of a wrong value at the path says is allowed. It is that of the
// first of several wrong values: the earlier ones have the right type.
func allowedAt(t *testing.T, path string) string {
	for _, wrong := range []any{0, -1, "-1s", "0", "\x01", object{}} {
		allowed, faulty := faultsWith(t, path, wrong, " is invalid: use ")[path]
		if faulty && !strings.HasPrefix(allowed, "a time such as") && !strings.HasPrefix(allowed, "a text") {
			return allowed
		}
	}
	return ""
}

var step = regexp.MustCompile(`[^.\[]+|\[0\]`)

// faultsWith sets the value at a path of a valid file, and returns the faults whose words contain
// what, by their paths: what stands behind it.
func faultsWith(t *testing.T, path string, value any, what string) map[string]string {
	t.Helper()
	var at any = value
	steps := step.FindAllString(path, -1)
	for _, name := range slices.Backward(steps) {
		if name == "[0]" {
			at = []any{at}
		} else {
			at = object{name: at}
		}
	}
	file, isObject := at.(object)
	if !isObject {
		t.Fatalf("%q is no path", path)
	}
	if _, has := file["pools"]; !has && path != "" {
		file["pools"] = object{"main": object{"backends": []any{object{"url": "http://127.0.0.1:8100"}}}}
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	if _, err := parseConfig("lb.yaml", text, environment(nil)); err != nil {
		for line := range strings.Lines(err.Error()) {
			before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), what)
			words := strings.SplitN(before, ": ", 3) // the place, the path and the value
			if ok && len(words) > 1 {
				found[words[1]] = after
			}
		}
	}
	return found
}

// The schema is in step with the structs, config.yaml and the faults.
func TestSchema(t *testing.T) {
	var made bytes.Buffer
	encoder := json.NewEncoder(&made)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(makeSchema(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, made.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if readFile(t, schemaFile) != made.String() {
		t.Errorf("%s is out of step: run go test -run TestSchema . -update, and read what changes", schemaFile)
	}
	if first, _, _ := strings.Cut(readFile(t, "config.yaml"), "\n"); first != "# yaml-language-server: $schema="+schemaFile {
		t.Errorf("the first line of config.yaml does not name the schema to editors: %s", first)
	}
}

// violation returns what the schema has against a config file, or nil.
func violation(t *testing.T, text string) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(readFile(t, schemaFile)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	var file any
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(file)
}

// Files that the balancer takes are valid by the schema, too.
func TestSchemaTakesGoodConfigs(t *testing.T) {
	good := map[string]string{
		"config.yaml":    readFile(t, "config.yaml"),
		"the smallest":   smallest,
		"of the tests":   testConfig(t, freeAddresses(t, 2), noPostgres+"1s\n", "limiter:\n  default: {capacity: 5, rate_per_second: 0.1}\n"),
		"empty sections": smallest + "server:\nlimiter:\n  default:\nlog:\n  level:\n",
		"variables":      smallest + "server:\n  idle_timeout: ${T:-1s}\n  max_body_size: ${S:-1MiB}\n  early_hints: ${B:-true}\n  max_connections: ${N:-0}\n",
		"unix_mode":      smallest + "server: {unix_mode: 660}\n",
		"routes": smallest + "routes:\n  - {host: '*.a', path: /b, methods: [GET], headers: {X-A: 1, X-B: true, X.C: 0100}, pool: main, strip_prefix: /b,\n" +
			"     split: [], request_headers: {set: {X-D: 1.50}, remove: [X-E]}, response_headers: {set: {}, remove: }}\n",
		"tokens": smallest + "management: {tokens: [{name: a, role: read, token: '0123456789abcdef'}]}\n",
	}
	for _, page := range []string{"README.md", limitsDoc, "docs/operations.md", "docs/routing.md", "docs/tls.md"} {
		for i, b := range blocksOf(t, page) {
			if b.language == "yaml" {
				good[page+" "+strconv.Itoa(i)] = wholeConfig(t, b.lines)
			}
		}
	}
	for name, text := range good {
		if _, err := parseConfig(name, []byte(text), environment(map[string]string{"LB_DEPLOY_TOKEN": "0123456789abcdef"})); err != nil {
			t.Error(err)
		}
		if err := violation(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An editor sees misspelled keys, wrong types, unknown words, bad times and what is missing.
func TestSchemaRefusesBadConfigs(t *testing.T) {
	for _, name := range []string{
		"unknown_key_top", "unknown_key_nested", "unknown_key_in_list", "unknown_policy", "unknown_unit", "text_for_number", "text_for_bool",
		"text_for_section", "list_for_section", "section_for_list", "no_pools", "empty_pools", "pool_without_backends", "backend_without_url",
		"route_without_pool", "weight_too_large", "retry_attempts", "limiter_capacity_zero", "limiter_headers", "log_level_fatal", "size_unit",
		"negative_time", "pool_name_with_quote", "tokens_faults", "limiter_ipv6_prefix",
	} {
		if violation(t, readFile(t, "testdata/config/bad/"+name+".yaml")) == nil {
			t.Errorf("the schema has nothing against %s", name)
		}
	}
}
