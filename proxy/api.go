package proxy

import (
	"bytes"
	"io"
	"net"
	"net/netip"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// apiPrefix is the path of the clients' API on the proxy's listener.
var apiPrefix = []byte("/v1/api/")

// fastEnd is a client's end that fasthttp has read the request of.
type fastEnd interface {
	// RequestCtx returns the request as fasthttp has it, without its body, for an answer.
	RequestCtx() *fasthttp.RequestCtx
	// OpenBody returns a reader of the request's body. Its End must be called before that of the
	// stream.
	OpenBody() ends.BodyReader
	// AnswerPlainly has fasthttp send the response, which has the given status and size of the body
	// in bytes.
	AnswerPlainly(status, size int)
}

// connected is any other client's end.
type connected interface {
	// Conn returns the connection of the client.
	Conn() net.Conn
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
	fast, isFast := s.ClientEnd.(fastEnd)
	var ctx *fasthttp.RequestCtx
	if isFast {
		ctx = fast.RequestCtx()
	} else if ctx, s.Cause = requestCtx(s, s.ClientEnd.(connected).Conn()); s.Cause != nil {
		o.why = reason.BadRequest
		return o
	}
	if a.MayUse(ctx) {
		o.why = a.answer(s, ctx)
	}
	if o.why == reason.ClientGone {
		return o
	}
	ctx.Response.Header.SetBytesV("X-Request-Id", id.bytes())
	switch body, ok := ctx.Response.BodyStream().(io.WriterTo); {
	case ok:
		o.why = answerStream(s, &ctx.Response, body)
	case isFast:
		fast.AnswerPlainly(ctx.Response.StatusCode(), len(ctx.Response.Body()))
		o.answered = true
	default:
		if why := answerPlainly(s, &ctx.Response); why != reason.None {
			o.why = why
		}
		o.answered = true
	}
	return o
}

// answer has a call answered, which reads the body as it comes. It returns why the body did not come
// to its end.
func (a *API) answer(s ends.Stream, ctx *fasthttp.RequestCtx) reason.Code {
	if s.Request.Framing == message.NoBody {
		a.Answer(ctx)
		return reason.None
	}
	body := openBody(s)
	defer body.End() // after a panic
	ctx.Request.SetBodyStream(body, body.Length())
	a.Answer(ctx)
	ctx.Request.ResetBody()
	return body.End()
}

// openBody returns a reader of the request's body.
func openBody(s ends.Stream) ends.BodyReader {
	if fast, ok := s.ClientEnd.(fastEnd); ok {
		return fast.OpenBody()
	}
	return &streamBody{s: s}
}
