package proxy

import (
	"strconv"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// A call of gRPC is a request of HTTP/2 like others, except in what it is given of time, and in how
// it is told that the balancer refuses it.

// bePatient gives a call of gRPC the time of a tunnel: either side may be silent for that long, as a
// stream of messages has no pace.
func bePatient(s ends.Stream, p *upstream.Pool) {
	if s.Request.GRPC.Is {
		s.CallStatus = -1
		s.BePatient(p.Timeouts().Tunnel)
	}
}

// headerWait returns how long the header of a response may take. A call of gRPC sets the time itself:
// its client ends it then, or else the balancer, a moment later. Where it sets none, it may be silent
// as long as a tunnel may.
func headerWait(g message.GRPC, t upstream.TimeoutConfig) time.Duration {
	switch {
	case !g.Is:
		return t.ResponseHeader
	case g.Timeout == 0:
		return t.Tunnel
	}
	return g.Timeout + afterDeadline
}

// afterDeadline is how much later than its client the balancer gives a call up.
const afterDeadline = time.Second

// requestBuffer returns the length of the longest body that is read before a backend is asked. The
// messages of a call go on as they come.
func requestBuffer(g message.GRPC, p *upstream.Pool) int64 {
	if g.Is {
		return 0
	}
	return p.RequestBuffer()
}

// responseBuffer returns how many bytes of a response are read ahead of a slow client. A client of
// gRPC slows its backend down.
func responseBuffer(g message.GRPC, p *upstream.Pool) int64 {
	if g.Is {
		return 0
	}
	return p.ResponseBuffer()
}

// noteCall notes the status of a call of gRPC, once the response's header has come (t is nil) or its
// trailers.
func noteCall(s ends.Stream, r *message.Response, t *message.Trailers) {
	switch {
	case !s.Request.GRPC.Is:
	case t == nil:
		s.CallStatus = r.CallStatus()
	case s.CallStatus < 0:
		s.CallStatus = t.CallStatus()
	}
}

// refuseCall sends the balancer's own answer to a call of gRPC, with a status of gRPC and without a
// body, and returns the reason to record.
func refuseCall(s ends.Stream, why reason.Code, a *admission, id *requestID) reason.Code {
	s.CallStatus = why.GRPCStatus()
	header := append(s.BeginReply(ok, 0), why.GRPCFields()...)
	if a.told && a.decision.RetryAfter > 0 && !a.decision.Allowed {
		header = append(header, "grpc-retry-pushback-ms: "...)
		header = strconv.AppendInt(header, int64((a.decision.RetryAfter+time.Millisecond-1)/time.Millisecond), 10)
		header = append(header, "\r\n"...)
	}
	header = message.AppendID(a.appendFields(header), id.bytes())
	if s.EndReply(header, ok, nil) != reason.None {
		return reason.ClientGone
	}
	return why
}

// ok is the status of every call of gRPC in HTTP.
const ok = 200
