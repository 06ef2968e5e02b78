package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// wire stands between limiters and a Redis server. It counts the commands, and has everything arrive
// late by the same time.
type wire struct {
	address  string
	server   string
	delay    time.Duration
	listener net.Listener
	commands atomic.Int64
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

func newWire(server string, delay time.Duration) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{address: listener.Addr().String(), server: server, delay: delay, listener: listener}
	w.running.Go(w.accept)
	return w, nil
}

func (w *wire) close() error {
	err := w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for _, conn := range w.conns {
		conn.Close()
	}
	w.mu.Unlock()
	w.running.Wait()
	return err
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			client.Close()
			continue
		}
		if !w.keep(client, server) {
			return
		}
		counted, counter := io.Pipe()
		w.running.Go(func() { w.read(counted) })
		w.running.Go(func() { w.pass(server, io.TeeReader(client, counter)); counter.Close() })
		w.running.Go(func() { w.pass(client, server) })
	}
}

// keep has connections closed with the wire, at once if it is closed already.
func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		for _, conn := range conns {
			conn.Close()
		}
		return false
	}
	w.conns = append(w.conns, conns...)
	return true
}

// late is data and when it is due.
type late struct {
	data []byte
	due  time.Time
}

// pass copies until either end closes, and then closes the writer.
func (w *wire) pass(to net.Conn, from io.Reader) {
	queue := make(chan late, 10_000)
	w.running.Go(func() {
		defer to.Close()
		for l := range queue {
			time.Sleep(time.Until(l.due))
			if _, err := to.Write(l.data); err != nil {
				for range queue { // so that the reader is not held up
				}
				return
			}
		}
	})
	defer close(queue)
	for {
		buffer := make([]byte, 16<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			queue <- late{buffer[:n], time.Now().Add(w.delay)}
		}
		if err != nil {
			return
		}
	}
}

// count returns the number of commands so far, 0 of no wire.
func (w *wire) count() int64 {
	if w == nil {
		return 0
	}
	return w.commands.Load()
}

// read counts the commands of a connection.
func (w *wire) read(from *io.PipeReader) {
	in := bufio.NewReader(from)
	for {
		if err := skipCommand(in); err != nil {
			if !errors.Is(err, io.EOF) {
				from.CloseWithError(err)
			}
			return
		}
		w.commands.Add(1)
	}
}

// skipCommand reads an array of bulk strings, the form in which clients send commands.
func skipCommand(in *bufio.Reader) error {
	parts, err := readLength(in, '*')
	for ; err == nil && parts > 0; parts-- {
		var size int
		if size, err = readLength(in, '$'); err == nil {
			_, err = in.Discard(size + len("\r\n"))
		}
	}
	return err
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q where a line with %c is expected", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
