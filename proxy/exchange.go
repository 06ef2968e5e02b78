package proxy

import (
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
)

// exchange is one request and its response on their way through the steps. The goroutine that
// serves the request owns it; afterwards it is reused.
type exchange struct {
	ctx     *fasthttp.RequestCtx
	client  *clientConn
	started time.Time

	request  request           // guard
	api      bool              // serveAPI: a call of the API
	viaAPI   bool              // the API answers, through fasthttp's own Response
	addr     netip.Addr        // identify: the caller's address
	key      uint64            // identify: a hash of addr
	trusted  bool              // identify: the peer is a trusted proxy
	decision limiter.Decision  // admit
	lease    limiter.Lease     // admit: released by leave
	counted  bool              // admit: decision and fields are shown to the client
	fields   limiter.Fields    // admit: the fields that report decision
	pool     *upstream.Pool    // route
	tried    upstream.Tried    // pick
	backend  *upstream.Backend // pick
	conn     *upstream.Conn    // attempt: until it is given back
	reused   bool              // attempt: the connection had served before
	again    bool              // attempt: this is not the first, so time has passed
	unsent   bool              // attempt: the last one sent no byte of the request
	sentAt   time.Time         // attempt: when the request, or its header, was sent
	watch    wire.Watch        // attempt: watches the client while the backend is slow
	small    []byte            // attempt: a small request body, once read
	upload   upload            // attempt: a larger request body
	response response          // attempt
	status   int               // respond: the status sent, or 0
	received int64             // guard, tunnel: bytes read from the client, without the body
	sent     int64             // respond, tunnel: bytes written to the client
	finished time.Time         // end: when the client had its answer
	reason   reason.Code       // why no backend's response was sent in full

	out []byte // the outgoing request, then the outgoing response
}

// outSize is the initial size of an exchange's out buffer: everything that was read along with a
// response's header fits, and leaves in one write. The buffer grows for a larger header; beyond
// maxOutSize it is not kept.
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

// beginExchange returns an exchange for a request that fasthttp has parsed.
func beginExchange(ctx *fasthttp.RequestCtx) *exchange {
	x := exchanges.Get().(*exchange)
	x.ctx = ctx
	x.client = ctx.Conn().(*clientConn)
	x.client.headerBy = time.Time{}
	x.started = ctx.Time()
	x.addr = x.client.peer // until identify finds a better one
	x.client.ending.RaiseIf(ctx.Request.Header.ConnectionClose(), wire.Close)
	return x
}

// ends reports whether the client's connection ends with this exchange.
func (x *exchange) ends() bool { return x.client.ending != wire.KeepOpen }

// endExchange clears the exchange of everything that points into the request and puts it back into
// the pool. Its buffers are kept.
func endExchange(x *exchange) {
	x.upload.kept.release()
	out, small, buf, done := x.out, x.small, x.response.in.buf, x.upload.done
	if cap(out) > maxOutSize {
		out = make([]byte, 0, outSize)
	}
	*x = exchange{out: out[:0], small: small[:0], response: response{in: inbound{buf: buf}}, upload: upload{done: done}}
	exchanges.Put(x)
}

// streamBufferSize is the size of the buffers that copy large bodies.
const streamBufferSize = 64 << 10

var streamBuffers = sync.Pool{New: func() any { return new([streamBufferSize]byte) }}
