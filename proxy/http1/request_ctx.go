package http1

import "github.com/valyala/fasthttp"

// requestCtx is a request as fasthttp has it, which a stream carries along. Only server.go looks
// into it.
type requestCtx = fasthttp.RequestCtx
