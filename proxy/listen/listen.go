// Package listen opens listening sockets that last: on TCP or as a unix socket, with an error that
// names the process in the way, and with an Accept that outlives a shortage of file descriptors.
package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"github.com/rs/zerolog"
)

// Open listens on an address. key is the config's name for it, which its errors begin with. mode is
// that of a unix socket's file. The listener is patient, see Patient.
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
		holder := portHolder(address)
		if holder == "" {
			holder = "taken"
		}
		return nil, fmt.Errorf("%s: %s is %s; stop that, or choose another address", key, address, holder)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: listen on %s: %w", key, address, err)
	}
	return ln, nil
}
