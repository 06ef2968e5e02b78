package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// listenUnix opens a unix socket whose file has the mode. It replaces a socket that a killed
// process left behind. Anything else at the path is an error, and is left alone.
func listenUnix(key, path string, mode fs.FileMode) (net.Listener, error) {
	ln, err := bindUnix(path, mode)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(key, path); err != nil {
			return nil, err
		}
		ln, err = bindUnix(path, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: listen on unix:%s: %w", key, path, err)
	}
	return ln, nil
}

// bindUnix listens on the path. Its file has the mode in the end, whatever the umask, and is never
// open to more users, if the system has a way to ensure that.
func bindUnix(path string, mode fs.FileMode) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		return boundMode(socket, mode)
	}}
	ln, err := config.Listen(context.Background(), "unix", path)
	if err != nil || strings.HasPrefix(path, "@") { // a name of Linux's abstract namespace has no file
		return ln, err
	}
	err = os.Chmod(path, mode)
	var file fs.FileInfo
	if err == nil {
		file, err = os.Lstat(path)
	}
	if err != nil {
		_ = ln.Close()
		return nil, err
	}
	return &unixListener{UnixListener: ln.(*net.UnixListener), path: path, file: file}, nil
}

// unixListener removes its socket's file when it is closed. It leaves a file that has replaced the
// socket since, such as the socket of the process that takes over.
type unixListener struct {
	*net.UnixListener
	path string
	file fs.FileInfo // of the socket
}

// Close stops accepting.
func (l *unixListener) Close() error {
	now, err := os.Lstat(l.path) // before the close: then the file's number could be another's
	l.SetUnlinkOnClose(err == nil && os.SameFile(now, l.file))
	return l.UnixListener.Close()
}

// removeStale removes a socket on which no process listens. Its error says why a file was left.
func removeStale(key, path string) error {
	conn, dialErr := net.Dial("unix", path)
	if dialErr == nil {
		holder := socketHolder(conn.(*net.UnixConn))
		_ = conn.Close()
		return &heldError{key, unixPrefix + path, func() string { return holder }, "path"}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: %s is %s, not a socket; remove it, or choose another path", key, path, fileKind(info.Mode()))
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: %s is a socket that may be in use: %w; remove it, or choose another path", key, path, dialErr)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("%s: remove a socket on which nothing listens: %w", key, err)
	}
	return nil
}

// fileKind describes the kind of a file with this mode.
func fileKind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	}
	return "a special file"
}
