package proxy

import (
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// exchange is one request and its response, on its way through the steps. It is
// owned by the goroutine that serves the request and is reused afterwards.
type exchange struct {
	ctx     *fasthttp.RequestCtx
	client  *clientConn
	started time.Time

	request  request          // guard
	api      bool             // serveAPI: a call of the API
	viaAPI   bool             // the API answers, through fasthttp's own Response
	addr     netip.Addr       // identify: who asks
	key      uint64           // identify: a hash of addr
	trusted  bool             // identify: the peer is a trusted proxy
	decision limiter.Decision // admit
	lease    limiter.Lease    // admit: until leave
	counted  bool             // admit: decision and fields are for the client
	fields   limiter.Fields   // admit: those that tell the client of decision
	pool     *pool            // route
	tried    triedSet         // pick
	backend  *backend         // pick
	conn     *backendConn     // attempt: until it is given back
	reused   bool             // attempt: its connection had served before
	again    bool             // attempt: there was one before, so time has passed
	unsent   bool             // attempt: no byte of the request has left in the last try
	sentAt   time.Time        // attempt: the request left, as far as it is sent with its header
	watch    wire.Watch       // attempt: of the client, when the backend is slow
	small    []byte           // attempt: a small request body, once read
	upload   upload           // attempt: a larger one on its way
	response response         // attempt
	status   int              // respond: the status sent, 0 for none
	received int64            // guard, tunnel: bytes read from the client, without the body's
	sent     int64            // respond, tunnel: bytes written to the client
	finished time.Time        // end: the client has its answer
	reason   reason.Code      // why no backend's answer was sent in full

	out []byte // the request on its way out, then the response
}

// outSize is what an exchange's out buffer starts with: all that was read with a
// response's header can leave with it, in one write. A header that needs more lets
// it grow, up to maxOutSize, beyond which it is not kept.
const (
	outSize    = responseBufferSize + 4<<10
	maxOutSize = 64 << 10
)

var exchanges = sync.Pool{New: func() any {
	return &exchange{
		out:      make([]byte, 0, outSize),
		response: response{in: inbound{buf: make([]byte, responseBufferSize)}},
		upload:   upload{done: make(chan struct{}, 1)},
	}
}}

// beginExchange takes an exchange for a request that fasthttp has parsed.
func beginExchange(ctx *fasthttp.RequestCtx) *exchange {
	x := exchanges.Get().(*exchange)
	x.ctx = ctx
	x.client = ctx.Conn().(*clientConn)
	x.client.headerBy = time.Time{}
	x.started = ctx.Time()
	x.addr = x.client.peer // until identify knows better
	x.client.ending.RaiseIf(ctx.Request.Header.ConnectionClose(), wire.Close)
	return x
}

// ends reports whether the client's connection ends with this exchange.
func (x *exchange) ends() bool { return x.client.ending != wire.KeepOpen }

// endExchange gives the exchange back, cleared of everything that points into
// the request, and keeps its buffers.
func endExchange(x *exchange) {
	x.upload.kept.release()
	out, small, buf, done := x.out, x.small, x.response.in.buf, x.upload.done
	if cap(out) > maxOutSize {
		out = make([]byte, 0, outSize)
	}
	*x = exchange{out: out[:0], small: small[:0], response: response{in: inbound{buf: buf}}, upload: upload{done: done}}
	exchanges.Put(x)
}

// streamBufferSize is what large bodies are copied in.
const streamBufferSize = 64 << 10

var streamBuffers = sync.Pool{New: func() any { return new([streamBufferSize]byte) }}
