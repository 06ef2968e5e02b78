package http1

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/wire"
)

// drainPoll is how often drain checks whether the last request has ended.
const drainPoll = 5 * time.Millisecond

// farewell is how long connections without a request stay open after the listener was closed: one
// may be on its way, and its response tells the client that it is the last.
const farewell = 100 * time.Millisecond

// Drain finishes the requests in flight, once Serve has returned, and closes the connections.
// Requests that outlast the shutdown timeout are cut, and the error says how many. Tunnels are cut
// too, but are not an error: many last for as long as they are allowed to.
func (s *Server) Drain() error {
	defer s.closeDepartures()
	deadline, cancel := context.WithTimeout(context.Background(), s.bounds.Load().ShutdownTimeout)
	defer cancel()
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	s.logUnderWay(zerolog.InfoLevel, "draining")
	for began := time.Now(); s.awaitsRequests(began) && deadline.Err() == nil; {
		select {
		case <-poll.C:
		case <-deadline.Done():
		}
	}
	s.conns.closeUnused()
	if err := s.fast.ShutdownWithContext(deadline); err != nil { // closes the idle connections
		return s.cut()
	}
	// fasthttp does not know of a connection that has just ceased to be parked.
	for s.returned.Load() > 0 {
		select {
		case <-poll.C:
		case <-deadline.Done():
			return s.cut()
		}
	}
	return nil
}

// awaitsRequests reports whether a request is under way or, soon after the drain has begun, may
// come.
func (s *Server) awaitsRequests(began time.Time) bool {
	return s.activity.InFlight.Load() > 0 || s.conns.len() > 0 && time.Since(began) < farewell
}

// cutGrace is how long cut waits for the requests to end, so that they are counted and logged. One
// notices the cut at the latest when it begins to watch its client.
const cutGrace = wire.WatchAfter + 100*time.Millisecond

// cut ends the requests and tunnels that outlasted the shutdown timeout.
func (s *Server) cut() error {
	requests, tunnels := s.activity.UnderWay()
	if requests+tunnels > 0 {
		s.logUnderWay(zerolog.WarnLevel, "cut what was still running at the shutdown timeout")
	}
	s.activity.Cutting.Store(true)
	s.conns.cutAll()
	s.activity.departures.AllLeft()
	for end := time.Now().Add(cutGrace); s.activity.InFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(drainPoll)
	}
	if requests > 0 {
		return fmt.Errorf("%d requests were still running after server.shutdown_timeout (%s) and were cut", requests, s.bounds.Load().ShutdownTimeout)
	}
	return nil
}

func (s *Server) logUnderWay(level zerolog.Level, message string) {
	requests, tunnels := s.activity.UnderWay()
	s.options.Log.WithLevel(level).Stringer("shutdown_timeout", s.bounds.Load().ShutdownTimeout).
		Int64("requests", requests).Int64("tunnels", tunnels).Msg(message)
}
