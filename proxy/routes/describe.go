package routes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"loadbalancer/proxy/message"
)

// Description says what a route is and does, for people. Values that are likely to be secret are not
// in it.
type Description struct {
	Route    string        // its place in the config, and what it matches
	Split    string        // "" if it has none
	Request  *message.Edit // of the fields that backends get
	Response []string      // what becomes of the fields of backends, such as "remove Server"
}

// Describe describes the route, for a client with the given key.
func (r *Route) Describe(key uint64) Description {
	c := &r.config
	d := Description{Route: "the only pool: the config has no routes", Request: c.RequestHeaders.shown().edit()}
	if r.number >= 0 {
		d.Route = fmt.Sprintf("routes[%d]: ", r.number) + c.describe()
	}
	if len(r.shares) > 0 {
		d.Split = r.describeSplit(key)
	}
	response := c.ResponseHeaders.shown()
	for line := range strings.SplitSeq(string(response.edit().Append(nil)), "\r\n") {
		if line != "" {
			d.Response = append(d.Response, "set "+line)
		}
	}
	for _, name := range response.Remove {
		d.Response = append(d.Response, "remove "+name)
	}
	return d
}

// describe says what the route matches.
func (c *Config) describe() string {
	var words []string
	add := func(key, value string, given bool) {
		if given {
			words = append(words, key+" "+value)
		}
	}
	add("host", c.Host, c.Host != "")
	add("path", c.Path, c.Path != "")
	add("methods", strings.Join(c.Methods, " "), len(c.Methods) > 0)
	add("headers", c.Headers.String(), len(c.Headers) > 0)
	if len(words) == 0 {
		return "every request"
	}
	return strings.Join(words, ", ")
}

// describeSplit says which share a client is in.
func (r *Route) describeSplit(key uint64) string {
	pool := r.Pool(key).Name()
	i := slices.IndexFunc(r.config.Split, func(s SplitConfig) bool { return s.Pool == pool })
	if i < 0 {
		return "in no share: " + pool + " gets the clients that are in none"
	}
	return "in the share of " + pool + ", " + strconv.FormatFloat(r.config.Split[i].Percent, 'f', -1, 64) + " % of the clients"
}

// shown returns a copy without values that are likely to be secret.
func (c FieldsConfig) shown() FieldsConfig {
	shown := FieldsConfig{Set: Values{}, Remove: c.Remove}
	for name, value := range c.Set {
		shown.Set[name] = message.Shown(name, value)
	}
	return shown
}
