package http1

import "time"

// The file descriptors that are kept back for other ends than connections of clients and backends:
// the listeners, the store, the log, calls of the API and health checks.
const keptBack = 64

// roomSilence is how long a listener that has logged that it has no room does not log it again.
const roomSilence = time.Second

// room returns how many connections of clients a process with this many file descriptors may have.
// Each may need another one to a backend: were a descriptor missing there, a request of a client
// that is being served would fail for the sake of one more client.
func room(descriptors int) int {
	return max(1, (descriptors-min(keptBack, descriptors/4))/2)
}

// awaitRoom waits while there is no room for another connection. Those that come in the meantime
// wait in the socket's queue. It looks again at once when a connection has closed: after a flood
// the queue is full of connections that end as soon as they are accepted.
func (l *listener) awaitRoom() {
	waited := false
	defer func() {
		if waited {
			l.server.conns.tellLeft() // another listener may wait, too
		}
	}()
	for open := l.server.conns.len(); open >= l.room && !l.closed.Load(); open = l.server.conns.len() {
		if now := time.Now(); now.Sub(l.told) > roomSilence {
			l.told = now
			l.server.options.Log.Error().Int("connections", open).
				Msg("no connection can be accepted until others close: the other file descriptors are kept for backends; see ulimit -n and server.max_connections")
		}
		waited = true
		select {
		case <-l.server.conns.left:
		case <-l.ends:
		case <-time.After(roomSilence):
		}
	}
}
