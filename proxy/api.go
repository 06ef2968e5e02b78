package proxy

import (
	"bytes"
	"io"
	"net/netip"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// apiPrefix is the path of the clients' API on the proxy's listener.
var apiPrefix = []byte("/v1/api/")

// apiEnd is a client's end that calls of the API can be answered at.
type apiEnd interface {
	// RequestCtx returns the request as fasthttp has it, without its body, for an answer:
	// AnswerPlainly or AnswerStream sends its Response.
	RequestCtx() *fasthttp.RequestCtx
	// OpenBody returns a reader of the request's body. Its End must be called before that of the
	// stream.
	OpenBody() ends.BodyReader
	// AnswerPlainly sends the response, which has the given status and size of the body in bytes.
	AnswerPlainly(status, size int)
	// AnswerStream sends the response, whose body, of unknown length, writes itself. It returns
	// ClientGone if the client did not take all of it, and InternalError if the body failed.
	AnswerStream(body io.WriterTo) reason.Code
}

// API is what answers the calls below /v1/api/ on the proxy's listener, through fasthttp's own
// Request and Response. All of it is called concurrently.
type API struct {
	// MayUse reports whether a call may use the API, and answers it if not. It sees the header
	// only.
	MayUse func(*fasthttp.RequestCtx) bool
	// Answer answers a call, whose body it reads as a stream. A response whose body is a stream has
	// to be an io.WriterTo.
	Answer fasthttp.RequestHandler
	// Count is told the status of each call, also of those that the proxy refuses.
	Count func(status int)
}

// isCall reports whether the request is for the API rather than for a backend.
func (a *API) isCall(r *message.Request) bool {
	return a != nil && bytes.HasPrefix(r.Target, apiPrefix)
}

// outcome is what became of a call of the API.
type outcome struct {
	client   netip.Addr
	why      reason.Code // reason.None: nothing went wrong
	answered bool        // whatever went wrong, the call has its answer
}

// serve answers through fasthttp's own Request and Response: the API is not the hot path. A caller
// without access is refused before its body is asked for. A panic becomes InternalError.
func (a *API) serve(s ends.Stream, trust *Trust, id *requestID) (o outcome) {
	o.client = s.Peer()
	defer func() {
		if fault := recover(); fault != nil {
			s.LogFault(fault)
			o.why, o.answered = reason.InternalError, false
		}
	}()
	from := trust.identify(o.client, &s.Request.Forwarded)
	if o.client = from.addr; from.trusted { // for the access log
		id.given = s.Request.Forwarded.ID
	}
	end := s.ClientEnd.(apiEnd)
	ctx := end.RequestCtx()
	if a.MayUse(ctx) {
		o.why = a.answer(end, ctx, s.Request.Framing != message.NoBody)
	}
	if o.why == reason.ClientGone {
		return o
	}
	ctx.Response.Header.SetBytesV("X-Request-Id", id.bytes())
	if body, ok := ctx.Response.BodyStream().(io.WriterTo); ok {
		o.why = end.AnswerStream(body)
		return o
	}
	end.AnswerPlainly(ctx.Response.StatusCode(), len(ctx.Response.Body()))
	o.answered = true
	return o
}

// answer has a call answered, which reads the body as it comes. It returns why the body did not come
// to its end.
func (a *API) answer(end apiEnd, ctx *fasthttp.RequestCtx, hasBody bool) reason.Code {
	if !hasBody {
		a.Answer(ctx)
		return reason.None
	}
	body := end.OpenBody()
	defer body.End() // after a panic
	ctx.Request.SetBodyStream(body, body.Length())
	a.Answer(ctx)
	ctx.Request.ResetBody()
	return body.End()
}
