package wire

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// Departures reports when a client closes its connection while nothing reads from it. It uses one
// epoll instance beside Go's own, for EPOLLRDHUP only. It takes a Watch for each request that has
// waited long, so only slow backends cost anything. It is safe for concurrent use; before Open it
// reports nothing.
type Departures struct {
	mu      sync.Mutex
	epoll   syscall.RawConn
	last    uint64
	watches map[uint64]watched // by the number that an event brings
	allLeft bool               // every client has gone: see AllLeft
}

// watched is a watch, and the connection of its client.
type watched struct {
	*Watch
	client *Conn
}

// Open makes the epoll instance and starts to deliver its events. close stops that.
func (d *Departures) Open() (close func(), err error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch for clients that leave: make an epoll instance: %w", err)
	}
	_ = syscall.SetNonblock(fd, true) // makes os.NewFile hand it to Go's poller, which waits
	file := os.NewFile(uintptr(fd), "epoll")
	epoll, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("watch for clients that leave: %w", err)
	}
	d.mu.Lock()
	d.epoll, d.watches = epoll, map[uint64]watched{}
	d.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		d.run(epoll)
		ended <- struct{}{}
	}()
	return func() { _ = file.Close(); <-ended }, nil
}

// run delivers events until the epoll instance is closed.
func (d *Departures) run(epoll syscall.RawConn) {
	var events [64]syscall.EpollEvent
	_ = epoll.Read(func(fd uintptr) (done bool) {
		for {
			n, err := syscall.EpollWait(int(fd), events[:], 0)
			if err == syscall.EINTR {
				continue
			}
			if n <= 0 {
				return false // wait for more
			}
			for _, e := range events[:n] {
				d.left(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
			}
		}
	})
}

// left ends the exchange of a client that has gone.
func (d *Departures) left(number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w, ok := d.watches[number]; ok {
		w.Left()
	}
}

// AllLeft ends the exchanges of all clients, including those watched later. It is called after
// their connections were cut, which epoll does not report.
func (d *Departures) AllLeft() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allLeft = true
	for _, w := range d.watches {
		w.Left()
	}
}

// Add is Announce for the client at the other end of the connection.
func (d *Departures) Add(w *Watch, client *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.allLeft {
		w.Left()
		return
	}
	if d.epoll == nil {
		return
	}
	d.last++
	w.number = d.last
	d.watches[w.number] = watched{w, client}
	d.control(w.number, client, syscall.EPOLL_CTL_ADD, syscall.EPOLLRDHUP|syscall.EPOLLONESHOT)
}

// Remove is Forget.
func (d *Departures) Remove(w *Watch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.watches[w.number]
	if was.Watch != w {
		return
	}
	delete(d.watches, w.number)
	d.control(w.number, was.client, syscall.EPOLL_CTL_DEL, 0)
}

// control fails if the connection is closed, or after close: there is nothing left to watch.
func (d *Departures) control(number uint64, client *Conn, operation int, events uint32) {
	raw := client.socket.raw
	if raw == nil {
		return
	}
	_ = d.epoll.Control(func(epoll uintptr) {
		_ = raw.Control(func(fd uintptr) {
			e := syscall.EpollEvent{Events: events, Fd: int32(number), Pad: int32(number >> 32)}
			_ = syscall.EpollCtl(int(epoll), operation, int(fd), &e)
		})
	})
}
