package main

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// acceptPause is how long a patientListener waits before it tries again, and
// silence how long before it says so again.
const (
	acceptPause = 20 * time.Millisecond
	silence     = time.Second
)

// patientListener waits where the machine is out of file descriptors or memory.
// Its Accept would return an error else, which ends the server and so the
// process: enough idle connections would bring the load balancer down.
// Accept is for one goroutine.
type patientListener struct {
	net.Listener
	log  zerolog.Logger
	told time.Time
}

// Accept waits for the next connection.
func (l *patientListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err == nil || !outOfResources(err) {
			return conn, err
		}
		if now := time.Now(); now.Sub(l.told) > silence {
			l.told = now
			l.log.Error().Err(err).Msg("no connection can be accepted until others close; see ulimit -n and server.max_connections")
		}
		time.Sleep(acceptPause)
	}
}

func outOfResources(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
