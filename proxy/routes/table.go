package routes

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// Table holds the routes of a config. Make one with New. It is immutable.
type Table struct {
	exact    map[string]group // by host, as hostName has it
	wild     map[string]group // by what stands behind the *, such as .example.com
	any      group            // those of every host
	hasPaths bool             // a route has a path
}

// group holds the routes of a host, the first that counts first. The endings of their paths stand
// side by side, so that a long list is passed over quickly.
type group []candidate

type candidate struct {
	ending
	*Route
}

// Route says where requests go, and what is changed in them. It is immutable.
type Route struct {
	Request  *message.Edit // of the fields that backends get; nil: none
	Response *message.Edit // of the fields of backends that clients get; nil: none

	number  int // in the config, from 0; -1 if the config has no routes
	config  Config
	path    prefix
	strip   prefix
	methods []string
	headers []header
	pool    *upstream.Pool
	shares  []share
}

// header is a field that requests must have.
type header struct{ name, value string } // the name in lower case

// New returns the table of valid configs. Without any, all requests go to the only pool.
func New(configs []Config, pools map[string]*upstream.Pool) *Table {
	t := &Table{exact: map[string]group{}, wild: map[string]group{}}
	for i, c := range configs {
		r := newRoute(i, c, pools)
		of := candidate{r.path.ending(), r}
		t.hasPaths = t.hasPaths || c.Path != ""
		switch suffix, isWild := strings.CutPrefix(hostName(c.Host), wildcard); {
		case c.Host == "":
			t.any = append(t.any, of)
		case isWild:
			t.wild[suffix] = append(t.wild[suffix], of)
		default:
			t.exact[suffix] = append(t.exact[suffix], of)
		}
	}
	if len(configs) == 0 {
		for _, p := range pools { // exactly one, as Validate has checked
			t.any = group{{ending{at: -1}, &Route{number: -1, pool: p}}}
		}
	}
	for _, g := range t.exact {
		g.sort()
	}
	for _, g := range t.wild {
		g.sort()
	}
	t.any.sort()
	return t
}

func newRoute(number int, c Config, pools map[string]*upstream.Pool) *Route {
	r := &Route{
		Request: c.RequestHeaders.edit(), Response: c.ResponseHeaders.edit(),
		number: number, config: c, path: newPrefix(c.Path), strip: newPrefix(strings.TrimSuffix(c.StripPrefix, "/")),
		methods: c.Methods, pool: pools[c.Pool], shares: newShares(c.Split, pools),
	}
	for name, value := range c.Headers {
		r.headers = append(r.headers, header{strings.ToLower(name), value})
	}
	return r
}

// sort sorts the routes so that the first match is the one that counts: longer paths first, then
// routes with methods, then those with more headers, then the order of the file.
func (g group) sort() {
	slices.SortStableFunc(g, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(len(b.path.characters()), len(a.path.characters())),
			cmp.Compare(min(len(b.methods), 1), min(len(a.methods), 1)), cmp.Compare(len(b.headers), len(a.headers)))
	})
}

// Match is the route that a request takes. Its zero value is ready for Find, which uses its buffer
// again. Its path points into the request or into that buffer.
type Match struct {
	Route *Route // nil: there is none

	form    []byte // of the path; nil for a target that is none, and if no route has a path
	escapes bool   // form has escapes
	buffer  []byte
}

// maxBuffer bounds the buffer that Reset keeps, in bytes.
const maxBuffer = 16 << 10

// Reset readies the match for another request. It keeps the buffer, unless that is large.
func (m *Match) Reset() {
	buffer := m.buffer
	if cap(buffer) > maxBuffer {
		buffer = nil
	}
	*m = Match{buffer: buffer}
}

// Find finds the route of a request that the guard has passed: of those that match, that of the
// most specific host, and then the first of its group. m must be the zero value or Reset.
// An error says what is wrong with the path; there is none if no route has a path.
func (t *Table) Find(r *message.Request, m *Match) error {
	if t.hasPaths && r.Target[0] == '/' {
		if fault := m.readPath(r.Path()); fault != nil {
			return fault
		}
	}
	m.Route = t.first(r, m)
	return nil
}

// readPath sets the form of the path. Nearly all paths are their own: then one scan is all.
func (m *Match) readPath(path []byte) (fault error) {
	m.form = path
	if isForm(path) {
		return nil
	}
	if m.form, fault = appendForm(m.buffer[:0], path); fault == nil {
		m.buffer = m.form
		m.escapes = bytes.IndexByte(m.form, '%') >= 0
	}
	return fault
}

// first returns the first route that matches, or nil.
func (t *Table) first(r *message.Request, m *Match) *Route {
	if len(t.exact)+len(t.wild) > 0 {
		var room [maxHost]byte
		host := appendHost(room[:0], r.Authority)
		if route := t.exact[string(host)].first(r, m); route != nil {
			return route
		}
		for i := 1; i < len(host) && len(t.wild) > 0; i++ {
			if host[i] != '.' || host[i-1] == '.' {
				continue
			}
			if route := t.wild[string(host[i:])].first(r, m); route != nil {
				return route
			}
		}
	}
	return t.any.first(r, m)
}

// first returns the first route that matches, or nil.
func (g group) first(r *message.Request, m *Match) *Route {
	for i := range g {
		c := &g[i]
		if !m.escapes && c.differs(m.form) {
			continue
		}
		if _, ok := c.path.covers(m.form, m.escapes); ok && c.takes(r) {
			return c.Route
		}
	}
	return nil
}

// takes reports whether the request has one of the route's methods, and all of its headers.
func (r *Route) takes(request *message.Request) bool {
	if len(r.methods) > 0 && !r.hasMethod(request.Method) {
		return false
	}
	for i := range r.headers {
		if !request.Has(r.headers[i].name, r.headers[i].value) {
			return false
		}
	}
	return true
}

func (r *Route) hasMethod(method []byte) bool {
	for _, m := range r.methods {
		if string(method) == m {
			return true
		}
	}
	return false
}

// Path returns the path that goes on in place of the request's, or nil if that does: the form less
// what the route strips.
func (m *Match) Path() []byte {
	if m.Route == nil || len(m.Route.strip.text) == 0 {
		return nil
	}
	n, _ := m.Route.strip.covers(m.form, m.escapes)
	if n == len(m.form) {
		return root
	}
	return m.form[n:]
}

var root = []byte("/")
