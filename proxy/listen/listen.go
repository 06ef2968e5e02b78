// Package listen opens listening sockets, on TCP or as a unix socket.
//
// A failure to open one names the process in the way. Accept waits through a shortage of file
// descriptors instead of failing. A unix socket has the configured permissions from the start, and
// replaces only a socket on which no process listens.
//
// The package knows nothing of what is spoken on the connections.
package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"github.com/rs/zerolog"
)

// heldError says that another process listens on the address.
type heldError struct {
	key, address string
	holder       func() string // "held by nginx (pid 123)", or "" if that is not known
	other        string        // what to choose another one of
}

// Error looks for the holder, which takes up to half a second where many processes run.
func (e *heldError) Error() string {
	holder := e.holder()
	if holder == "" {
		holder = "held by another process"
	}
	return fmt.Sprintf("%s: %s is %s; stop that, or choose another %s", e.key, e.address, holder, e.other)
}

// IsHeld reports whether Open has failed because another process listens on the address, which it
// may be about to give up.
func IsHeld(err error) bool {
	var held *heldError
	return errors.As(err, &held)
}

// Held returns the error with which Open would fail because another process listens on the TCP
// address, or nil. It opens nothing, and finds out on Linux alone.
func Held(key string, a Address) error {
	if _, ok := a.Socket(); ok {
		return nil
	}
	holder := portHolder(a.text)
	if holder == "" {
		return nil
	}
	return &heldError{key, a.text, func() string { return holder }, "address"}
}

// Open listens on an address. key is its name in the config, with which errors begin. mode is that
// of a unix socket's file. The listener is patient; see Patient.
func Open(key string, a Address, mode Mode, log zerolog.Logger) (net.Listener, error) {
	var ln net.Listener
	var err error
	if path, ok := a.Socket(); ok {
		ln, err = listenUnix(key, path, fs.FileMode(mode))
	} else {
		ln, err = listenTCP(key, a.text)
	}
	if err != nil {
		return nil, err
	}
	return Patient(ln, log), nil
}

func listenTCP(key, address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &heldError{key, address, func() string { return portHolder(address) }, "address"}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: listen on %s: %w", key, address, err)
	}
	return ln, nil
}
