package routes

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"loadbalancer/proxy/message"
)

// Config is one entry of the routes section of the configuration file: it sends requests to a pool.
// An empty Host, Path, Methods or Headers matches any.
type Config struct {
	Host    string   `yaml:"host"`    // without port; *.example.com is every name below example.com
	Path    string   `yaml:"path"`    // in the form of appendForm; /a matches /a and what is below it, /a/ only the latter
	Methods []string `yaml:"methods"` // in upper case
	Headers Values   `yaml:"headers"` // each must be there with this value

	Pool  string        `yaml:"pool"`
	Split []SplitConfig `yaml:"split"` // shares of the clients that go to other pools

	StripPrefix     string       `yaml:"strip_prefix"` // what goes on is the path's form without this
	RequestHeaders  FieldsConfig `yaml:"request_headers"`
	ResponseHeaders FieldsConfig `yaml:"response_headers"`
}

// SplitConfig is a share of a route's clients.
type SplitConfig struct {
	Pool    string  `yaml:"pool"`
	Percent float64 `yaml:"percent"` // 0 to 100, together with the route's others
}

// UnmarshalYAML makes a share without Percent one that is not valid: 0 is, and takes no client.
func (c *SplitConfig) UnmarshalYAML(n *yaml.Node) error {
	type plain SplitConfig
	*c = SplitConfig{Percent: missing}
	return n.Decode((*plain)(c))
}

const missing = -1

// FieldsConfig says which fields of a message a route changes.
type FieldsConfig struct {
	Set    Values   `yaml:"set"`    // these take the place of all of the same names
	Remove []string `yaml:"remove"` // names, in any case
}

// Values are the values of fields by their names.
type Values map[string]string

// String writes the fields as the file may have them, without values that are likely to be secret.
func (v Values) String() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		words = append(words, name+": "+message.Shown(name, v[name]))
	}
	return "{" + strings.Join(words, ", ") + "}"
}

// edit returns the change, or nil if there is none.
func (c FieldsConfig) edit() *message.Edit { return message.NewEdit(c.Set, c.Remove) }

// Report tells of a fault: its path in the file, the value, and what is allowed.
type Report func(path string, value any, allowed string)

// Validate calls wrong once for each fault, with its path in the file. pools lists the names that a
// route may refer to.
func Validate(configs []Config, pools []string, own *message.Own, wrong Report) {
	if len(configs) == 0 && len(pools) > 1 {
		wrong("routes", "", "routes that say which requests go to which pool")
	}
	taken := map[string]int{}
	for i, c := range configs {
		at := fmt.Sprintf("routes[%d].", i)
		below := func(path string, value any, allowed string) { wrong(at+path, value, allowed) }
		c.validateTargets(pools, below)
		matches := c.validateMatch(own, below)
		c.validateStrip(below)
		c.RequestHeaders.validate("request_headers", own, below)
		c.ResponseHeaders.validate("response_headers", own, below)
		if matches {
			c.validateOnce(i, taken, wrong)
		}
	}
}

const allowedPercent = "a number from 0 to 100"

// validateTargets checks the pools that requests go to.
func (c Config) validateTargets(pools []string, wrong Report) {
	known := func(path, pool string) {
		if len(pools) > 0 && !slices.Contains(pools, pool) {
			wrong(path, pool, "the name of a pool: "+strings.Join(pools, ", "))
		}
	}
	known("pool", c.Pool)
	total, before := 0.0, []string{c.Pool}
	for i, s := range c.Split {
		at := fmt.Sprintf("split[%d].", i)
		known(at+"pool", s.Pool)
		if s.Pool != "" && slices.Contains(before, s.Pool) {
			wrong(at+"pool", s.Pool, "each pool once; what no share takes goes to the route's pool")
		}
		before = append(before, s.Pool)
		switch {
		case s.Percent == missing:
			wrong(at+"percent", "", allowedPercent)
			return
		case s.Percent < 0 || s.Percent > 100:
			wrong(at+"percent", s.Percent, allowedPercent)
			return
		}
		if total += s.Percent; total > 100+1e-9 {
			wrong(at+"percent", s.Percent, "at most 100 per cent for all shares of the route")
			return
		}
	}
}

// validateMatch checks what requests must be like, and reports whether that is without fault.
func (c Config) validateMatch(own *message.Own, wrong Report) (valid bool) {
	valid = true
	note := func(path string, value any, allowed string) {
		valid = false
		wrong(path, value, allowed)
	}
	if err := checkHost(c.Host); err != nil {
		note("host", c.Host, err.Error())
	}
	if allowed := checkPath(c.Path); allowed != "" {
		note("path", c.Path, allowed)
	}
	for i, m := range c.Methods {
		if m == "" || len(m) > message.MaxMethod || !message.Token.HasAll([]byte(m)) || m != strings.ToUpper(m) || m == "CONNECT" {
			note(fmt.Sprintf("methods[%d]", i), m, "a method in upper case, such as GET; CONNECT is never forwarded")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		switch value := c.Headers[name]; {
		case name == "" || !message.Token.HasAll([]byte(name)):
			note("headers."+name, "the name", "the name of a field, such as X-Beta")
		case strings.EqualFold(name, "Host"):
			note("headers."+name, "Host", "the route's host")
		case own.CheckSubject(name) != "":
			note("headers."+name, "the name", own.CheckSubject(name))
		case value == "" || value != strings.TrimSpace(value) || !message.Value.HasAll([]byte(value)):
			note("headers."+name, "the value", "a value without control characters, and without spaces around it")
		}
	}
	return valid
}

// checkPath returns what is allowed in place of the path of a route, or "".
func checkPath(path string) (allowed string) {
	if path == "" {
		return ""
	}
	switch {
	case path[0] != '/':
		return "a path that begins with /"
	case strings.Contains(path, "?"):
		return "a path without a query: routes do not go by what stands behind ?"
	case strings.Contains(path, "*"):
		return "a path without *: /a matches /a and everything below it, /a/ only what is below"
	case !message.Target.HasAll([]byte(path)):
		return "a path as it is sent: visible ASCII characters but # and ?, others as %XX"
	}
	switch form, err := appendForm(nil, []byte(path)); {
	case errors.Is(err, errEscape):
		return "a path in which two hexadecimal digits follow each %, and not 00"
	case err != nil:
		return `a path without .. behind //, or together with %2f, %5c, %3b, \ or ;`
	case string(form) != path:
		return string(form) + ": the form in which paths are compared"
	}
	return ""
}

func (c Config) validateStrip(wrong Report) {
	if c.StripPrefix == "" {
		return
	}
	strip := newPrefix(strings.TrimSuffix(c.StripPrefix, "/"))
	_, ok := strip.covers([]byte(c.Path), strip.escapes)
	if empty := len(strip.text) == 0 || strings.HasSuffix(c.StripPrefix, "//"); !ok || empty || c.Path == "" {
		wrong("strip_prefix", c.StripPrefix, "the route's path, or its first segments: /a or /a/b where path is /a/b")
	}
}

// validateOnce checks that an earlier route does not take all that the route matches. taken has the
// first route for each host, path, headers and method.
func (c Config) validateOnce(number int, taken map[string]int, wrong Report) {
	at := fmt.Sprintf("routes[%d]", number)
	route := newRoute(number, c, nil)
	var headers []string
	for _, h := range route.headers {
		headers = append(headers, h.name+": "+h.value+"\n")
	}
	slices.Sort(headers)
	key := hostName(c.Host) + "\n" + string(route.path.characters()) + "\n" + strings.Join(headers, "")
	methods := c.Methods
	if len(methods) == 0 {
		methods = []string{""}
	}
	for i, method := range methods {
		first, twice := taken[key+method]
		if !twice {
			taken[key+method] = number
			continue
		}
		once := fmt.Sprintf("each host and path once; routes[%d] has the same", first)
		if method != "" || len(headers) > 0 {
			once = fmt.Sprintf("each method once for a host, path and headers; routes[%d] has the same", first)
		}
		switch {
		case method != "":
			wrong(fmt.Sprintf("%s.methods[%d]", at, i), method, once)
		case c.Path != "":
			wrong(at+".path", c.Path, once)
		case c.Host != "":
			wrong(at+".host", c.Host, once)
		default:
			wrong(at, "a route of every request", once)
		}
	}
}

// maxValue is the longest value that a route sets, in bytes.
const maxValue = 4096

const eachNameOnce = "each name once: what is set takes the place of every field of its name, in any case and with - or _"

// validate checks the changes of one direction. Faults never show a value, which may be secret.
func (c FieldsConfig) validate(key string, own *message.Own, wrong Report) {
	response := key == "response_headers"
	seen := map[string]bool{}
	again := func(name string) bool { // as Edit compares names
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		was := seen[plain]
		seen[plain] = true
		return was
	}
	for _, name := range slices.Sorted(maps.Keys(c.Set)) {
		at := key + ".set." + name
		if allowed := message.CheckEdit(name, own, message.Setting, response); allowed != "" {
			wrong(at, "the name "+name, allowed)
			continue
		}
		value := c.Set[name]
		switch {
		case again(name):
			wrong(at, "the name "+name, eachNameOnce)
		case value == "":
			wrong(at, "an empty value", "a value, or the name in "+key+".remove")
		case len(value) > maxValue || value != strings.TrimSpace(value) || !message.Value.HasAll([]byte(value)):
			wrong(at, "the value", fmt.Sprintf("at most %d bytes without control characters, and without spaces around them", maxValue))
		}
	}
	for i, name := range c.Remove {
		at := fmt.Sprintf("%s.remove[%d]", key, i)
		if allowed := message.CheckEdit(name, own, message.Removing, response); allowed != "" {
			wrong(at, name, allowed)
		} else if again(name) {
			wrong(at, name, eachNameOnce)
		}
	}
}
