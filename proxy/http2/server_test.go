package http2

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

var limits = &ends.Limits{BodyTimeout: bounds.BodyTimeout}

// answer answers with a body of this size, once the request was read.
func answer(s ends.Stream, size int) {
	defer s.End()
	if why := s.Guard(limits); why != reason.None {
		if header, ok := s.BeginAnswer(why); ok {
			_ = s.EndAnswer(header, why)
		}
		return
	}
	buf := make([]byte, 0, 4096)
	for !s.HasReadBody() {
		if _, err := s.ReadBody(buf); err != nil {
			why, _ := s.Unread(err)
			if header, ok := s.BeginAnswer(why); ok {
				_ = s.EndAnswer(header, why)
			}
			return
		}
	}
	_ = s.EndReply(s.BeginReply(200, size), 200, make([]byte, size))
}

// A closed stream is closed to the client at once, even while the work of its request goes on.
func TestDataAfterTheEnd(t *testing.T) {
	defer goleak.VerifyNone(t)
	release := make(chan bool)
	dial, end := startServer(t, func(s ends.Stream) {
		answer(s, 2)
		<-release
	})
	c := dial()
	for _, stream := range []uint32{1, 3} {
		c.open(stream, true, get()...)
		c.expect(t, fmt.Sprint(stream, " headers, end false"), fmt.Sprint(stream, " data 2, end true"))
		_ = c.WriteData(stream, true, []byte("x"))
		c.expect(t, fmt.Sprint(stream, " reset STREAM_CLOSED"))
	}
	close(release)
	c.open(5, true, get()...)
	c.expect(t, "5 headers, end false", "5 data 2, end true")
	_ = c.Close()
	end()
}

// TestGoAway ends a server: clients are told at once, streams on their way are served, and the
// connection ends after the last.
func TestGoAway(t *testing.T) {
	defer goleak.VerifyNone(t)
	release := make(chan bool)
	dial, end := startServer(t, func(s ends.Stream) {
		<-release
		answer(s, 2)
	})
	c := dial()
	c.open(1, true, get()...)
	idle := dial()
	_ = idle.WritePing(false, [8]byte{})
	idle.expect(t, "ping \x00\x00\x00\x00\x00\x00\x00\x00, ack true")
	ended := make(chan bool)
	go func() { end(); close(ended) }()
	for _, c := range []*client{c, idle} {
		c.expect(t, "goaway 2147483647 NO_ERROR", "ping draining, ack false")
	}
	c.open(3, true, get()...) // before the GOAWAY was read
	_ = c.WritePing(true, [8]byte([]byte("draining")))
	c.expect(t, "goaway 3 NO_ERROR")
	c.open(5, true, get()...)
	_ = c.WriteData(5, true, []byte("x"))
	_ = c.WriteWindowUpdate(5, 1)
	_ = c.WriteRSTStream(5, http2.ErrCodeCancel)
	release <- true
	release <- true
	seen := map[string]bool{}
	for range 4 {
		seen[c.next()] = true
	}
	for _, want := range []string{"1 headers, end false", "1 data 2, end true", "3 headers, end false", "3 data 2, end true"} {
		if !seen[want] {
			t.Errorf("%q has not come: %v", want, seen)
		}
	}
	c.expect(t, "closed")
	idle.expect(t, "goaway 0 NO_ERROR", "closed")
	<-ended
	c.Close()
	idle.Close()
}

// TestHeaderBlockThatDoesNotEnd ends its connection after the time for a header, whatever else is
// under way there.
func TestHeaderBlockThatDoesNotEnd(t *testing.T) {
	dial, end := startServer(t, func(s ends.Stream) { answer(s, 0) })
	defer end()
	c := dial()
	c.open(1, false, get()...)
	began := time.Now()
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0x82}})
	c.expect(t, "closed")
	if took := time.Since(began); took < bounds.ReadHeaderTimeout/2 || took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	c.Close()
}

// TestFaults sends what breaks the rules and h2spec does not send.
func TestFaults(t *testing.T) {
	release := make(chan bool)
	dial, end := startServer(t, func(s ends.Stream) {
		if string(s.Request.Target) == "/unread" {
			<-release
		}
		answer(s, 0)
	})
	defer end()
	defer close(release)
	for _, test := range []struct {
		name string
		send func(c *client)
		want string
	}{
		{"DATA beyond the window of the stream", func(c *client) {
			c.open(1, false, ":method: POST", ":scheme: http", ":authority: a", ":path: /unread")
			for range streamWindow/10_000 + 1 {
				_ = c.WriteData(1, false, make([]byte, 10_000))
			}
		}, "1 reset FLOW_CONTROL_ERROR"},
		{"more CONTINUATION than a header needs", func(c *client) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			for range maxFragments + 1 {
				_ = c.WriteContinuation(1, false, []byte{0x84})
			}
		}, "goaway 1 ENHANCE_YOUR_CALM"},
		{"a block that is larger than any header may be", func(c *client) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			for range 4 {
				_ = c.WriteContinuation(1, false, []byte(strings.Repeat("\x82", 10_000)))
			}
		}, "goaway 1 ENHANCE_YOUR_CALM"},
		{"a body that is longer than its Content-Length", func(c *client) {
			c.open(1, false, get("content-length: 3")...)
			_ = c.WriteData(1, false, []byte("four"))
		}, "1 reset PROTOCOL_ERROR"},
		{"trailers that do not end the stream", func(c *client) {
			c.open(1, false, get()...)
			c.open(1, false, "a: b")
		}, "1 reset PROTOCOL_ERROR"},
		{"a stream with an even number", func(c *client) { c.open(2, true, get()...) }, "goaway 0 PROTOCOL_ERROR"},
		{"DATA for streams that have ended, without end", func(c *client) {
			for stream := uint32(1); stream < 1000; stream += 2 {
				c.open(stream, true, get()...)
			}
			time.Sleep(100 * time.Millisecond)
			for n := range uint32(50_000) {
				if c.WriteData(1+n*2%1000, false, []byte("x")) != nil {
					return
				}
			}
		}, "goaway 999 ENHANCE_YOUR_CALM"},
		{"PING without end", func(c *client) {
			for range 50_000 {
				if c.WritePing(true, [8]byte{}) != nil {
					return
				}
			}
		}, "goaway 0 ENHANCE_YOUR_CALM"},
	} {
		c := dial()
		go test.send(c)
		got := c.next()
		for strings.Contains(got, "headers") || strings.HasSuffix(got, "reset STREAM_CLOSED") || strings.HasSuffix(got, "reset REFUSED_STREAM") {
			got = c.next()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		c.Close()
	}
}

// TestPanicResetsItsStream alone.
func TestPanicResetsItsStream(t *testing.T) {
	dial, end := startServer(t, func(s ends.Stream) {
		if string(s.Request.Target) == "/panics" {
			panic("in a handler")
		}
		answer(s, 0)
	})
	defer end()
	c := dial()
	c.open(1, true, ":method: GET", ":scheme: http", ":authority: a", ":path: /panics")
	c.expect(t, "1 reset INTERNAL_ERROR")
	c.open(3, true, get()...)
	c.expect(t, "3 headers, end true")
	c.Close()
}

// TestStalledClient takes nothing of what is sent: its connection ends, and with it the streams.
func TestStalledClient(t *testing.T) {
	var done sync.WaitGroup
	dial, end := startServer(t, func(s ends.Stream) {
		defer done.Done()
		answer(s, 8<<20)
	})
	defer end()
	done.Add(5)
	c := dial()
	_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	_ = c.WriteWindowUpdate(0, 1<<30)
	for stream := uint32(1); stream <= 9; stream += 2 {
		c.open(stream, true, get()...)
	}
	done.Wait()
	c.Close()
}

// TestResetStreamsCount until their work has ended: resets make no place for more work.
func TestResetStreamsCount(t *testing.T) {
	var running, most atomic.Int64
	release := make(chan bool)
	dial, end := startServer(t, func(s ends.Stream) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		answer(s, 0)
		running.Add(-1)
	})
	defer end()
	defer close(release)
	c := dial()
	refused := 0
	go func() {
		for stream := uint32(1); stream < 2*400; stream += 2 {
			c.open(stream, true, get()...)
			_ = c.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
		_ = c.WritePing(false, [8]byte{})
	}()
	for !strings.HasPrefix(c.next(), "ping") {
		refused++
	}
	if refused != 150 || most.Load() > maxStreams {
		t.Errorf("%d of 400 streams were refused, and %d ran at once", refused, most.Load())
	}
	c.Close()
}

// TestIdle sees that a connection counts as idle only while no stream is open.
func TestIdle(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	dial, end := startServer(t, func(s ends.Stream) {
		entered <- true
		<-release
		answer(s, 0)
	})
	defer end()
	c := dial()
	for stream := uint32(1); stream < 9; stream += 2 {
		c.open(stream, true, get()...)
		<-entered
		if c.server.idle.Load() {
			t.Error("it is idle while a stream is open")
		}
		release <- true
		c.next()
		for by := time.Now().Add(5 * time.Second); !c.server.idle.Load() && time.Now().Before(by); {
			time.Sleep(time.Millisecond)
		}
		if !c.server.idle.Load() {
			t.Error("it is not idle once the stream has ended")
		}
	}
	c.Close()
}

// TestWideWindow lets an upload that is read send more ahead, while the budget has room.
func TestWideWindow(t *testing.T) {
	activity := new(ends.Activity)
	activity.Buffers.Set(wideWindow - streamWindow)
	dial, end := startServerOf(t, activity, func(s ends.Stream) { answer(s, 0) })
	defer end()
	c := dial()
	window, sent, most := streamWindow, 0, 0
	c.open(1, false, get()...)
	for sent < 2<<20 {
		for window > 0 {
			n := min(window, 16_000)
			_ = c.WriteData(1, false, make([]byte, n))
			window, sent = window-n, sent+n
		}
		var id, more int
		if got := c.next(); got != "closed" {
			if _, err := fmt.Sscanf(got, "%d window %d", &id, &more); err != nil {
				t.Fatalf("%q came", got)
			}
		}
		window, most = window+more, max(most, more)
	}
	if most < wideWindow-streamWindow || activity.Buffers.Take(1) {
		t.Errorf("the window grows by %d at most", most)
	}
	_ = c.WriteData(1, true, nil)
	for got := ""; got != "1 headers, end true"; {
		if got = c.next(); got == "closed" {
			t.Fatal("the connection was closed")
		}
	}
	for by := time.Now().Add(5 * time.Second); !activity.Buffers.Take(wideWindow - streamWindow); time.Sleep(time.Millisecond) {
		if time.Now().After(by) {
			t.Fatal("the budget was not given back")
		}
	}
	c.Close()
}

// TestUploadWindow gives a client back what it has sent once that was read, and not before.
func TestUploadWindow(t *testing.T) {
	read := make(chan int)
	dial, end := startServer(t, func(s ends.Stream) {
		defer s.End()
		if why := s.Guard(limits); why != reason.None || s.Request.Framing != message.Chunked {
			t.Errorf("%d, framing %d", why, s.Request.Framing)
		}
		for n := range read {
			got, err := s.ReadBody(make([]byte, 0, n))
			if err != nil || len(got) != n {
				t.Errorf("%d bytes were read, want %d: %v", len(got), n, err)
			}
		}
		_ = s.EndReply(s.BeginReply(204, 0), 204, nil)
	})
	defer end()
	c := dial()
	c.open(1, false, get()...)
	for sent := 0; sent < streamWindow; sent += 16_000 {
		_ = c.WriteData(1, false, make([]byte, min(16_000, streamWindow-sent)))
	}
	_ = c.WritePing(false, [8]byte{})
	c.expect(t, "ping \x00\x00\x00\x00\x00\x00\x00\x00, ack true")
	read <- 30_000
	read <- 10_000
	c.expect(t, "1 window 40000")
	close(read)
	c.expect(t, "1 headers, end true", "1 reset NO_ERROR")
	_ = c.WriteData(1, true, make([]byte, 10)) // on its way
	_ = c.WritePing(false, [8]byte{})
	c.expect(t, "ping \x00\x00\x00\x00\x00\x00\x00\x00, ack true")
	c.Close()
}
