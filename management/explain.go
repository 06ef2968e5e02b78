package management

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/proxy"
)

// explainPath is the call that says what would become of a request. It changes nothing, so that a
// token with the role read may use it.
const explainPath = apiPrefix + "explain"

// explain answers a question in JSON: method (GET if it is missing), url, from (a loopback address
// if it is missing) and headers, an object of names and values.
func (m *Server) explain(_ context.Context, ctx *fasthttp.RequestCtx) error {
	body, err := rest.ReadBody(ctx)
	if err != nil {
		return err
	}
	q, err := decodeQuestion(body)
	if err != nil {
		return err
	}
	answer, err := m.Balancer.Explain(q)
	if err != nil {
		return &rest.Fault{Code: rest.Invalid, Message: err.Error()}
	}
	rest.WriteJSON(ctx, fasthttp.StatusOK, answer)
	return nil
}

func decodeQuestion(body []byte) (q proxy.Question, err error) {
	o, err := rest.ParseObject(body, "method", "url", "from", "headers")
	if err != nil {
		return q, err
	}
	q = proxy.Question{Method: fasthttp.MethodGet, From: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	text := func(field string, into *string) error {
		if _, present := o.Value(field); !present {
			return nil
		}
		value, ok := o.Text(field)
		if !ok || value == "" {
			return o.Wrong(field, "a string")
		}
		*into = value
		return nil
	}
	from := q.From.String()
	for field, into := range map[string]*string{"method": &q.Method, "url": &q.URL, "from": &from} {
		if err := text(field, into); err != nil {
			return q, err
		}
	}
	if q.URL == "" {
		return q, o.Missing("url")
	}
	if q.From, err = netip.ParseAddr(from); err != nil {
		return q, o.Wrong("from", "an IP address, such as 192.0.2.1")
	}
	return q, decodeHeaders(o, &q)
}

// decodeHeaders adds the fields in the order of their names, since an object has none.
func decodeHeaders(o rest.Object, q *proxy.Question) error {
	value, present := o.Value("headers")
	if !present {
		return nil
	}
	var headers map[string]string
	if err := json.Unmarshal(value, &headers); err != nil {
		return o.Wrong("headers", `an object of names and values, such as {"Host": "example.com"}`)
	}
	for name, value := range headers {
		q.Headers = append(q.Headers, name+": "+value)
	}
	slices.Sort(q.Headers)
	return nil
}
