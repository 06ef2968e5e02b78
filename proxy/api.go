package proxy

import (
	"bytes"
	"slices"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
)

// apiPrefix is the path of the clients' API on the proxy's listener.
var apiPrefix = []byte("/v1/api/")

// API is what answers the calls below /v1/api/ on the proxy's listener, through fasthttp's own Request
// and Response. All of it is called concurrently.
type API struct {
	// MayUse reports whether a call may use the API, and answers it if not. It sees the header only.
	MayUse func(*fasthttp.RequestCtx) bool
	// Answer answers a call whose body has been read.
	Answer fasthttp.RequestHandler
	// Count is told the status of each call, also of those that the proxy refuses.
	Count func(status int)
}

// isAPI reports whether the request is for the API rather than for a backend.
func (p *Proxy) isAPI(x *exchange) bool {
	return p.api != nil && bytes.HasPrefix(x.request.Target, apiPrefix)
}

// maxAPIBody bounds the body of a request to the API.
const maxAPIBody = 1 << 20

// serveAPI answers through fasthttp's own Request and Response: the API is not the hot path. A
// caller without access is refused before its body takes any memory.
func (p *Proxy) serveAPI(x *exchange) reason.Code {
	x.api = true
	p.identify(x) // for the access log
	// fasthttp lets no handler set a Date. It writes its own after a reset of the header, which
	// undoes what configure has switched off for all responses.
	x.ctx.Response.Header.Reset()
	x.ctx.Response.Header.SetNoDefaultContentType(true)
	if p.api.MayUse(x.ctx) {
		content, why := x.readAPIBody()
		if why != reason.None {
			return why
		}
		x.ctx.Request.SetBodyRaw(content)
		p.api.Answer(x.ctx)
	}
	x.viaAPI = true
	x.status = x.ctx.Response.StatusCode()
	if !x.request.Head {
		x.sent += int64(len(x.ctx.Response.Body()))
	}
	return reason.None
}

func (x *exchange) readAPIBody() (content []byte, why reason.Code) {
	b := &x.request.body
	if b.length > maxAPIBody {
		return nil, reason.BodyTooLarge
	}
	if why := x.proceed(); why != reason.None {
		return nil, why
	}
	for !b.ended {
		if len(content) > maxAPIBody {
			return nil, reason.BodyTooLarge
		}
		var err error
		if content, err = b.next(slices.Grow(content, 4<<10)); err != nil {
			return nil, bodyReason(err)
		}
	}
	return content, reason.None
}
