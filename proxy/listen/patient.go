package listen

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// acceptPause is how long a patient listener waits before it tries again, and silence how long
// before it logs the problem again.
const (
	acceptPause = 20 * time.Millisecond
	silence     = time.Second
)

type patient struct {
	net.Listener
	log  zerolog.Logger
	told time.Time
}

// Patient returns a listener that waits while the machine is out of file descriptors or memory.
// Otherwise Accept would return an error, which ends the server and with it the process: enough
// idle connections would take the load balancer down. Accept is for one goroutine.
func Patient(ln net.Listener, log zerolog.Logger) net.Listener {
	return &patient{Listener: ln, log: log}
}

// SyscallConn returns the listener's socket.
func (l *patient) SyscallConn() (syscall.RawConn, error) {
	socket, ok := l.Listener.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return socket.SyscallConn()
}

// Accept waits for the next connection.
func (l *patient) Accept() (net.Conn, error) {
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
