package proxy

import (
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// reject answers a request that no backend has answered. If a response has begun or the client has
// gone, it only ends the connection.
func (x *exchange) reject(why reason.Code) {
	x.admission.leave()
	x.reason = refuse(x.stream, why, &x.admission, &x.id)
}

// refuse sends the balancer's own answer, and returns the reason to record.
func refuse(s ends.Stream, why reason.Code, a *admission, id *requestID) reason.Code {
	if s.Request.GRPC.Is && s.Status == 0 && why.GRPCFields() != nil {
		return refuseCall(s, why, a, id)
	}
	if header, ok := s.BeginAnswer(why); ok {
		header = message.AppendID(a.appendFields(header), id.bytes())
		if s.EndAnswer(header, why) != reason.None {
			return reason.ClientGone
		}
	}
	return why
}
