package rest

import (
	"net/netip"

	"github.com/valyala/fasthttp"
)

// Caller is the origin of a call. The zero value is the caller of a call that needs no access.
type Caller struct {
	Token   string     // the name of its token; "" if it needed none, as a program on this machine
	Address netip.Addr // of the client, also where a trusted proxy has passed the call on
}

// Local is the name of callers that needed no token.
const Local = "local"

// Name returns the name of the caller's token, or Local.
func (c Caller) Name() string {
	if c.Token == "" {
		return Local
	}
	return c.Token
}

// callerKey is the key of the Caller among the user values of a RequestCtx.
type callerKey struct{}

// SetCaller records the caller of a call, once its access was checked.
func SetCaller(ctx *fasthttp.RequestCtx, c Caller) { ctx.SetUserValue(callerKey{}, c) }

// CallerOf returns the caller of a call. It is the zero Caller where no access was checked.
func CallerOf(ctx *fasthttp.RequestCtx) Caller {
	c, _ := ctx.UserValue(callerKey{}).(Caller)
	return c
}
