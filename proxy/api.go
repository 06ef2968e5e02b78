package proxy

import (
	"bytes"
	"net/netip"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// apiPrefix is the path of the clients' API on the proxy's listener.
var apiPrefix = []byte("/v1/api/")

// API is what answers the calls below /v1/api/ on the proxy's listener, through fasthttp's own
// Request and Response. All of it is called concurrently.
type API struct {
	// MayUse reports whether a call may use the API, and answers it if not. It sees the header
	// only.
	MayUse func(*fasthttp.RequestCtx) bool
	// Answer answers a call whose body has been read.
	Answer fasthttp.RequestHandler
	// Count is told the status of each call, also of those that the proxy refuses.
	Count func(status int)
}

// isCall reports whether the request is for the API rather than for a backend.
func (a *API) isCall(r *message.Request) bool {
	return a != nil && bytes.HasPrefix(r.Target, apiPrefix)
}

// maxAPIBody bounds the body of a request to the API, in bytes.
const maxAPIBody = 1 << 20

// serve answers through fasthttp's own Request and Response: the API is not the hot path. A caller
// without access is refused before its body takes any memory. A panic becomes InternalError.
func (a *API) serve(s *http1.Stream, trust *Trust, id *requestID) (client netip.Addr, why reason.Code) {
	client = s.Peer()
	defer func() {
		if fault := recover(); fault != nil {
			s.LogFault(fault)
			why = reason.InternalError
		}
	}()
	from := trust.identify(client, &s.Request.Forwarded)
	if client = from.addr; from.trusted { // for the access log
		id.given = s.Request.Forwarded.ID
	}
	ctx := s.RequestCtx()
	if a.MayUse(ctx) {
		content, why := s.ReadBody(maxAPIBody)
		if why != reason.None {
			return client, why
		}
		ctx.Request.SetBodyRaw(content)
		a.Answer(ctx)
	}
	ctx.Response.Header.SetBytesV("X-Request-Id", id.bytes())
	s.AnswerPlainly(ctx.Response.StatusCode(), len(ctx.Response.Body()))
	return client, reason.None
}
