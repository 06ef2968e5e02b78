package management

import (
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"

	"loadbalancer/clients/rest"
)

// profilesPath is where Go's profiles are, as go tool pprof asks for them.
const profilesPath = "/debug/pprof/{name:*}"

// profiles shows the profiles of the process to a caller with a token. They tell of its memory, so
// that there is no access without one, not even from this machine.
func (m *Server) profiles(ctx *fasthttp.RequestCtx) {
	switch {
	case len(m.API.access.rules.Load().tokens) == 0:
		rest.WriteProblem(ctx, fasthttp.StatusForbidden, "", "profiles need a token: set management.token")
	case m.API.access.allows(ctx):
		pprofhandler.PprofHandler(ctx)
	}
}
