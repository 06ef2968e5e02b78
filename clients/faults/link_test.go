package faults

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
)

// link is a TCP proxy in front of a server, as the network between it and a balancer: it can be
// slow, silent or cut, and lead to another server. It is safe for concurrent use.
type link struct {
	ln      net.Listener
	wg      sync.WaitGroup
	changed *sync.Cond // of what follows
	target  string
	delay   time.Duration     // of what the server sends
	silent  bool              // nothing passes, either way, and nothing is lost
	deaf    bool              // what the server sends is held back
	isCut   bool              // connections are reset
	conns   map[net.Conn]bool // both ends; false if the connection is forgotten
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", balancer.Loopback(balancer.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	l := &link{ln: ln, changed: sync.NewCond(&sync.Mutex{}), target: target, conns: map[net.Conn]bool{}}
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		ln.Close()
		l.cut(true)
		l.wg.Wait()
	})
	return l
}

func (l *link) address() string { return l.ln.Addr().String() }

// change applies f to the link.
func (l *link) change(f func()) {
	l.changed.L.Lock()
	defer l.changed.L.Unlock()
	f()
	l.changed.Broadcast()
}

func (l *link) setDelay(d time.Duration) { l.change(func() { l.delay = d }) }
func (l *link) setSilent(on bool)        { l.change(func() { l.silent = on }) }
func (l *link) setDeaf(on bool)          { l.change(func() { l.deaf = on }) }

// cut resets all connections and, while it is on, each new one.
func (l *link) cut(on bool) {
	l.change(func() {
		l.isCut = on
		l.reset()
	})
}

// drop resets all connections. New ones work.
func (l *link) drop() { l.change(l.reset) }

// pointAt resets all connections; new ones lead to another server.
func (l *link) pointAt(target string) {
	l.change(func() {
		l.target = target
		l.reset()
	})
}

// forget has the connections of now carry nothing any more, either way, as when a firewall has lost
// them. New ones work.
func (l *link) forget() {
	l.change(func() {
		for conn := range l.conns {
			l.conns[conn] = false
		}
	})
}

// reset is called with the lock.
func (l *link) reset() {
	for conn := range l.conns {
		resetConn(conn)
	}
	clear(l.conns)
}

func resetConn(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func (l *link) accept() {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.join(conn) })
	}
}

// join carries a connection until either end closes it.
func (l *link) join(client net.Conn) {
	defer client.Close()
	l.changed.L.Lock()
	target, refused := l.target, l.isCut
	l.changed.L.Unlock()
	if refused {
		resetConn(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		resetConn(client)
		return
	}
	defer server.Close()
	l.change(func() {
		if refused = l.isCut; !refused {
			l.conns[client], l.conns[server] = true, true
		}
	})
	if refused {
		resetConn(client)
		return
	}
	var both sync.WaitGroup
	carry := func(to, from net.Conn, back bool) {
		l.carry(to, from, back)
		to.Close()
		from.Close()
		l.change(func() {
			delete(l.conns, to)
			delete(l.conns, from)
		})
	}
	both.Go(func() { carry(server, client, false) })
	both.Go(func() { carry(client, server, true) })
	both.Wait()
}

// carried is what was read, and when it is due.
type carried struct {
	bytes []byte
	due   time.Time
}

func (l *link) carry(to, from net.Conn, back bool) {
	queue := make(chan carried, 1024)
	var writing sync.WaitGroup
	writing.Go(func() {
		for c := range queue {
			time.Sleep(time.Until(c.due))
			l.pass(to, back)
			if _, err := to.Write(c.bytes); err != nil {
				from.Close()
			}
		}
	})
	defer writing.Wait()
	defer close(queue)
	for {
		buffer := make([]byte, 16<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			c := carried{bytes: buffer[:n]}
			l.changed.L.Lock()
			if back {
				c.due = time.Now().Add(l.delay)
			}
			l.changed.L.Unlock()
			queue <- c
		}
		if err != nil {
			return
		}
	}
}

// pass waits until the link lets bytes to a connection through, or has reset it.
func (l *link) pass(to net.Conn, back bool) {
	l.changed.L.Lock()
	defer l.changed.L.Unlock()
	for {
		works, open := l.conns[to]
		if !open || works && !l.silent && !(l.deaf && back) {
			return
		}
		l.changed.Wait()
	}
}

// TestLink checks that the link does to a connection what its methods say.
func TestLink(t *testing.T) {
	echo := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_, _ = io.Copy(conn, conn)
				}()
			}
		}()
		return ln.Addr().String()
	}
	l := newLink(t, echo())
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	// exchange returns how long a byte takes there and back, or an error after a second.
	exchange := func(conn net.Conn) (time.Duration, error) {
		begun := time.Now()
		_ = conn.SetDeadline(begun.Add(time.Second))
		if _, err := conn.Write([]byte("x")); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(conn, make([]byte, 1))
		return time.Since(begun), err
	}
	conn := dial()
	if _, err := exchange(conn); err != nil {
		t.Fatal(err)
	}
	l.setDelay(100 * time.Millisecond)
	if took, err := exchange(conn); err != nil || took < 100*time.Millisecond {
		t.Errorf("with a delay: %s, %v", took, err)
	}
	l.setDelay(0)
	for name, set := range map[string]func(bool){"silent": l.setSilent, "deaf": l.setDeaf} {
		set(true)
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = conn.Write([]byte("x"))
		var timeout net.Error
		if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: got %v", name, err)
		}
		set(false)
		_ = conn.SetDeadline(time.Now().Add(deadline))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	forgotten := conn
	l.forget()
	conn = dial()
	if _, err := exchange(conn); err != nil {
		t.Errorf("a connection after forget: %v", err)
	}
	_ = forgotten.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = forgotten.Write([]byte("x"))
	if n, err := forgotten.Read(make([]byte, 1)); err == nil {
		t.Errorf("a forgotten connection carries %d bytes", n)
	}
	l.cut(true)
	if _, err := exchange(conn); err == nil {
		t.Error("a cut connection works")
	}
	if conn, err := net.Dial("tcp", l.address()); err == nil {
		if _, err := exchange(conn); err == nil {
			t.Error("a new connection over a cut link works")
		}
		conn.Close()
	}
	l.cut(false)
	conn = dial()
	if _, err := exchange(conn); err != nil {
		t.Error(err)
	}
	l.pointAt(echo())
	if _, err := exchange(conn); err == nil {
		t.Error("a connection to the old server works")
	}
	if _, err := exchange(dial()); err != nil {
		t.Error(err)
	}
}
