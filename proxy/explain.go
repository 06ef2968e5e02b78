package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"loadbalancer/limiter"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// Question is a request of which Explain says what would become of it.
type Question struct {
	Method  string
	URL     string     // absolute, or a path
	From    netip.Addr // the peer that it would come from
	Headers []string   // "Name: value"; Host is taken from an absolute URL unless it is here
}

// Explanation is what would become of a request. Parts that it would not reach are nil.
type Explanation struct {
	Refused *Refusal `json:"refused,omitempty"`
	Arrival
	Client  *ExplainClient `json:"client,omitempty"`
	Limit   *ExplainLimit  `json:"limit,omitempty"`
	Route   string         `json:"route,omitempty"`
	Split   string         `json:"split,omitempty"`  // which share of the route the client is in
	Target  string         `json:"target,omitempty"` // what the backend gets in place of the request's
	Pool    *ExplainPool   `json:"pool,omitempty"`
	Retry   string         `json:"retry,omitempty"`
	Removed []string       `json:"fields_removed,omitempty"` // lines of the header that the backend does not get
	Added   []string       `json:"fields_added,omitempty"`   // lines that it gets instead or in addition

	Response []string `json:"response_fields,omitempty"` // what the route changes in those of the backend
}

// Arrival is how a request comes, and what answers it in place of a backend.
type Arrival struct {
	TLS      bool   `json:"tls,omitempty"`
	Redirect string `json:"redirect,omitempty"` // where server.tls.redirect_from sends the client
	API      string `json:"api,omitempty"`      // why the API answers
}

// Refusal is the answer that the balancer itself would give.
type Refusal struct {
	Reason string `json:"reason"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Cause  string `json:"cause,omitempty"` // what is wrong with the request, in words
}

// ExplainClient is the client that the request would count for.
type ExplainClient struct {
	Address string `json:"address"`
	Why     string `json:"why"` // this is the address
	Name    string `json:"name,omitempty"`
	By      string `json:"by"` // how the limit was found
}

// ExplainLimit is the limit that would count, and whether the request would pass now.
type ExplainLimit struct {
	Capacity      int64   `json:"capacity"`
	RatePerSecond float64 `json:"rate_per_second"`
	MaxInFlight   int64   `json:"max_in_flight,omitempty"`
	Tokens        float64 `json:"tokens"`
	InFlight      int64   `json:"in_flight"`
	Shadow        bool    `json:"shadow"`
	Exempt        bool    `json:"exempt"`
	Shared        bool    `json:"shared,omitempty"` // over all instances; tokens are what this one knows
	Blocked       bool    `json:"blocked,omitempty"`
	Passes        bool    `json:"passes"`
}

// ExplainPool is the pool that would serve the request.
type ExplainPool struct {
	Name     string                  `json:"name"`
	Balance  string                  `json:"balance"`
	Backends []upstream.BackendState `json:"backends"`
	Pick     string                  `json:"pick,omitempty"` // the backend that would be picked now
	Why      string                  `json:"why"`
}

// Explain says what would become of a request, by the settings and the state of now. It sends
// nothing, takes no token and no turn, and counts nothing. It returns an error for a question that
// cannot be put as a request.
func (p *Proxy) Explain(q Question) (e Explanation, err error) {
	s := p.settings.Load()
	q.From = q.From.Unmap().WithZone("") // as peers' addresses are
	text, err := q.request()
	if err != nil {
		return Explanation{}, err
	}
	came, err := q.arrive(&s.edge)
	if err != nil {
		return Explanation{}, err
	}
	e.TLS = came.security != nil
	r, why, cause := p.server.Parse(text)
	if why == reason.None {
		r.Security = came.security
		why = r.Guard(&s.limits.Rules)
		cause = r.Fault
	}
	if why != reason.None {
		e.Refused = refusal(why)
		e.Refused.Cause = cause.Error()
		return e, nil
	}
	c := s.trust.identify(q.From, &r.Forwarded)
	e.Client = s.explainClient(q.From, &c)
	if came.redirect {
		e.explainRedirect(&s.edge, r)
		return e, nil
	}
	if s.api.isCall(r) {
		e.Client.By = "no client is limited where the API answers"
		e.API = "management.api_on_proxy is true: paths below " + string(apiPrefix) + " are the API's, and go to no backend"
		return e, nil
	}
	e.explainForwarding(s, r, q.From, &c)
	return e, nil
}

// explainForwarding says what would become of a request that is for a backend.
func (e *Explanation) explainForwarding(s *settings, r *message.Request, peer netip.Addr, c *caller) {
	if s.limiter != nil {
		standing := s.limiter.Standing(c.addr, apiKey(r.Key))
		e.Client.describe(standing)
		e.Limit = explainLimit(standing, s.exempt.hold(r))
		if !e.Limit.Passes {
			e.Refused = refusal(e.Limit.exceeded())
		}
	}
	var m routes.Match
	if fault := s.routes.Find(r, &m); fault != nil {
		e.refuse(reason.BadRequest, fault.Error())
		return
	}
	if m.Route == nil {
		e.refuse(reason.NoRoute, "")
		return
	}
	if e.explainRoute(s, r, &m, peer, c); e.Pool.Pick == "" {
		e.refuse(reason.NoBackend, "")
	}
}

// refuse notes the answer that the balancer itself would give, unless an earlier step gives one.
func (e *Explanation) refuse(why reason.Code, cause string) {
	if e.Refused == nil {
		e.Refused = refusal(why)
		e.Refused.Cause = cause
	}
}

// explainRoute says where the request goes, and what it is then.
func (e *Explanation) explainRoute(s *settings, r *message.Request, m *routes.Match, peer netip.Addr, c *caller) {
	key := c.key
	if s.limiter != nil {
		key = splitKey(c, s.limiter.Identify(c.addr, apiKey(r.Key)))
	}
	d, pool := m.Route.Describe(key), m.Route.Pool(key)
	e.Route, e.Split, e.Response = d.Route, d.Split, d.Response
	e.Pool = explainPool(pool, r, c)
	e.Retry = explainRetry(r, pool.Retry())
	from := message.Sender{Peer: peer, Client: c.addr, Trusted: c.trusted, ID: newID}
	if c.trusted && r.Forwarded.ID != nil {
		from.ID = r.Forwarded.ID
	}
	changes := message.Changes{Path: m.Path(), Host: pool.HostOf(e.Pool.Pick), Fields: d.Request}
	sent := string(r.AppendHeader(nil, &from, &changes, []byte("BACKEND"), &s.via))
	e.compareFields(r, sent)
	if target := strings.Fields(sent)[1]; changes.Path != nil {
		e.Target = target
	}
}

// newID stands for the ID that a request would be given.
var newID = []byte("(a new one)")

// request returns the question as it would come over a connection.
func (q *Question) request() ([]byte, error) {
	switch {
	case q.URL == "":
		return nil, errors.New("url: missing: use a URL such as http://example.com/path, or a path")
	case strings.ContainsAny(q.Method+q.URL, "\r\n"):
		return nil, errors.New("method and url: a line break is invalid: use one line")
	case !q.From.IsValid():
		return nil, errors.New("from: missing or invalid: use an IP address, such as 192.0.2.1")
	}
	host, target := splitURL(q.URL)
	hasHost := false
	var fields strings.Builder
	for _, line := range q.Headers {
		name, _, isField := strings.Cut(line, ":")
		if strings.ContainsAny(line, "\r\n") || !isField {
			return nil, fmt.Errorf("headers: %q is invalid: use lines such as Name: value", line)
		}
		hasHost = hasHost || strings.EqualFold(name, "Host")
		fields.WriteString(line + "\r\n")
	}
	text := q.Method + " " + target + " HTTP/1.1\r\n"
	if !hasHost {
		text += "Host: " + host + "\r\n"
	}
	return []byte(text + fields.String() + "\r\n"), nil
}

// splitURL returns the Host and the target that a client sends for a URL, be they valid or not. The
// Host is localhost for a URL that has none, such as a path.
func splitURL(url string) (host, target string) {
	scheme, rest, absolute := strings.Cut(url, "://")
	if !absolute || strings.ContainsAny(scheme, "/?") {
		return "localhost", url
	}
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest+"/", "/?")
	host, target = rest[:end], rest[end:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return host[strings.LastIndex(host, "@")+1:], target
}

func refusal(why reason.Code) *Refusal {
	return &Refusal{Reason: why.String(), Status: why.Status(), Detail: why.Detail()}
}

func (s *settings) explainClient(peer netip.Addr, c *caller) *ExplainClient {
	e := &ExplainClient{Address: c.addr.String(), By: "no client is limited"}
	switch {
	case !c.trusted:
		e.Why = "the peer itself: it is not in server.trusted_proxies, so its forwarding fields do not count"
	case c.addr == peer:
		e.Why = "the trusted proxy itself: it gives no valid address in " + s.trust.Field()
	default:
		e.Why = "given in " + s.trust.Field() + " by the trusted proxy " + peer.String()
	}
	return e
}

// describe says how the limit was found.
func (e *ExplainClient) describe(standing limiter.Standing) {
	switch {
	case standing.ID == (limiter.ID{}):
		e.By = "no registered client: limiter.default counts"
	case standing.ByKey:
		e.By = "the API key"
	case standing.ID.Prefix.IsSingleIP():
		e.By = "the address"
	case standing.Terms.Each:
		e.By = "the range, in which each address has a bucket"
	default:
		e.By = "the range"
	}
	if standing.ID != (limiter.ID{}) {
		e.Name = standing.ID.String()
	}
}

func explainLimit(s limiter.Standing, exempt bool) *ExplainLimit {
	e := &ExplainLimit{
		Capacity: s.Terms.Capacity, RatePerSecond: s.Terms.RatePerSecond, MaxInFlight: s.Terms.MaxInFlight,
		Tokens: s.Tokens, InFlight: s.InFlight, Shadow: s.Terms.Shadow, Exempt: exempt,
		Blocked: s.Terms.Blocked, Shared: s.Shared,
	}
	e.Passes = e.exceeded() == reason.None || e.Shadow && !e.Blocked
	return e
}

// exceeded returns the reason why the request would be over the limit, or blocked.
func (e *ExplainLimit) exceeded() reason.Code {
	switch {
	case e.Blocked:
		return reason.Blocked
	case e.MaxInFlight > 0 && e.InFlight >= e.MaxInFlight:
		return reason.TooManyInFlight
	case !e.Exempt && e.Tokens < 1:
		return reason.Limited
	}
	return reason.None
}

func explainPool(pool *upstream.Pool, r *message.Request, c *caller) *ExplainPool {
	e := &ExplainPool{Name: pool.Name(), Balance: pool.Policy().String(), Backends: pool.States()}
	if name := pool.StickyCookie(); name != "" {
		if e.Pick = pool.PreviewNamed(r.Cookie(name)); e.Pick != "" {
			e.Why = "the client's cookie " + name + " names it"
			return e
		}
	}
	e.Pick = pool.Preview(hashKey(pool.Hash(), r, c))
	switch pool.Policy() {
	case balance.RoundRobin:
		e.Why = "the next in turn"
	case balance.LeastRequests:
		e.Why = "the fewest requests in flight for its weight"
	case balance.IPHash:
		e.Why = "always the same for the client's address, while it is up"
	case balance.Latency:
		e.Why = "of two that are drawn, the one with the least response time, times its requests in flight: another request may get another"
	case balance.Hash:
		e.Why = "always the same for the " + pool.Hash().String() + " of the request, or else the client's address, while it is up and has no more than 1.25 of its share"
	default:
		e.Why = "drawn: another request may get another"
	}
	if e.Pick == "" {
		e.Why = "no backend is up"
	}
	return e
}

func explainRetry(r *message.Request, c upstream.RetryConfig) string {
	if c.Attempts == 1 {
		return "never: retry.attempts is 1"
	}
	always := fmt.Sprintf("up to %d attempts, each at another backend as long as there is one, while no byte of the request was sent", c.Attempts)
	if !r.Idempotent(c.IdempotencyKey) {
		return always + "; not once one was, since a " + string(r.Method) + " may not be sent twice"
	}
	text := always + ", or no byte of a response has come"
	if len(c.Statuses) > 0 {
		text += ", or its status is one of " + strings.Trim(fmt.Sprint(c.Statuses), "[]")
	}
	if c.Timeouts {
		text += ", or it is late"
	}
	return text + ", within the pool's budget"
}

// compareFields sets the lines of the request's header that the backend does not get, and those
// that it gets in addition.
func (e *Explanation) compareFields(r *message.Request, sent string) {
	before := strings.Split(strings.TrimRight(string(r.Header), "\r\n"), "\r\n")
	_, fields, _ := strings.Cut(strings.TrimSuffix(sent, "\r\n\r\n"), "\r\n")
	after := strings.Split(fields, "\r\n")
	without := func(lines, others []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(others, line) })
	}
	e.Removed, e.Added = without(before, after), without(after, before)
}
