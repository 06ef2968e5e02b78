package proxy

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// busiest counts what is open at once.
type busiest struct{ open, most atomic.Int64 }

func (b *busiest) enter() {
	n := b.open.Add(1)
	for {
		most := b.most.Load()
		if n <= most || b.most.CompareAndSwap(most, n) {
			return
		}
	}
}

func (b *busiest) leave() { b.open.Add(-1) }

// startCounting is a backend that counts the requests at once, and answers none but those for /other.
func startCounting(t *testing.T, at *busiest) (url string) {
	return startRawBackend(t, func(conn net.Conn) {
		buf := make([]byte, 4<<10)
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if strings.HasPrefix(string(buf[:n]), "GET /other") {
			_, _ = io.WriteString(conn, leaseOK)
			return
		}
		at.enter()
		defer at.leave()
		_, _ = io.Copy(io.Discard, conn)
	})
}

// TestHTTP2ResetUnderWay resets streams once they are at the backend, which then has none of them any
// more, and opens others in their place: the backend never has more than may be open.
func TestHTTP2ResetUnderWay(t *testing.T) {
	var at busiest
	_, address := startProxy(t, http2Options(startCounting(t, &at)))
	f := dialFrames(t, address)
	for round := range 2 {
		first := f.last
		for range 240 {
			f.open(true, request("GET", "/")...)
		}
		if round == 0 { // later, those whose predecessors are still at work are refused
			eventually(t, "the requests at the backend", func() bool { return at.open.Load() >= 230 })
		}
		for id := first + 1 + first%2; id <= f.last; id += 2 {
			f.must(f.write.WriteRSTStream(id, http2.ErrCodeCancel))
		}
	}
	eventually(t, "the end of the work", func() bool { return at.open.Load() == 0 })
	if n := at.most.Load(); n > 250 {
		t.Errorf("the backend had %d requests at once", n)
	}
}

// TestHTTP2RapidReset opens 100,000 streams and resets each at once (CVE-2023-44487). No backend has
// more requests than the streams that may be open, and another client is served meanwhile.
func TestHTTP2RapidReset(t *testing.T) {
	var at busiest
	_, address := startProxy(t, http2Options(startCounting(t, &at)))
	before := processorTime(t)
	began := time.Now()
	resets := 0
	for resets < 100_000 {
		resets += resetMany(t, address, 400) // a client that resets more on a connection loses it
	}
	spent := processorTime(t) - before
	t.Logf("%d resets took %s and %s of CPU time, this client's included; the backend had %d requests at once", resets, time.Since(began), spent, at.most.Load())
	if n := at.most.Load(); n > 250 {
		t.Errorf("the backend had %d requests at once", n)
	}
	if n := resetMany(t, address, 100_000); n == 100_000 {
		t.Error("a connection outlasts 100,000 resets")
	}
	other := dialFrames(t, address)
	if a := other.wait(other.open(true, request("GET", "/other")...)); a.String() != "200" {
		t.Errorf("another client gets %s", a)
	}
	eventually(t, "the end of the work", func() bool { return at.open.Load() == 0 })
}

// resetMany opens streams on a connection and resets each, and returns how many once the server has
// seen all of them, or has closed the connection.
func resetMany(t *testing.T, address string, most int) (n int) {
	t.Helper()
	f := dialFrames(t, address)
	defer f.conn.Close()
	var out strings.Builder
	framer := http2.NewFramer(&out, nil)
	for n < most {
		out.Reset()
		for range 50 {
			f.last += 1 + f.last%2
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last, BlockFragment: f.encode(request("GET", "/")...), EndStream: true, EndHeaders: true})
			_ = framer.WriteRSTStream(f.last, http2.ErrCodeCancel)
		}
		if _, err := io.WriteString(f.conn, out.String()); err != nil {
			break
		}
		n += 50
	}
	_ = f.write.WritePing(false, [8]byte{1})
	for {
		frame, err := f.write.ReadFrame()
		if ping, ok := frame.(*http2.PingFrame); err != nil || ok && ping.IsAck() {
			return n
		}
	}
}

// processorTime returns the CPU time that the process has taken.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestHTTP2Floods sends frames that cost the client little. Each flood ends with its connection, or
// with what the client sends, and another client is served.
func TestHTTP2Floods(t *testing.T) {
	_, address := startProxy(t, http2Options(startBackend(t, mirror)))
	for _, test := range []struct {
		name string
		most int64 // bytes that may be held
		send func(f *frames) error
	}{
		{"pings whose answers are not read", 4 << 20, func(f *frames) error { return f.write.WritePing(false, [8]byte{}) }},
		{"settings whose answers are not read", 4 << 20, func(f *frames) error { return f.write.WriteSettings() }},
		{"resets of streams that are over", 4 << 20, func(f *frames) error { return f.write.WriteRSTStream(1, http2.ErrCodeCancel) }},
		{"empty DATA", 4 << 20, func(f *frames) error { return f.write.WriteData(1, false, nil) }},
		{"window updates", 4 << 20, func(f *frames) error { return f.write.WriteWindowUpdate(0, 1) }},
		{"CONTINUATION without end", 4 << 20, func(f *frames) error { return f.write.WriteContinuation(1, false, []byte("\x00\x01a\x01b")) }},
		{"empty CONTINUATION without end", 4 << 20, func(f *frames) error { return f.write.WriteContinuation(1, false, nil) }},
		{"streams that are not answered", 250 * 160 << 10, func(f *frames) error {
			f.last += 2
			return f.write.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last, BlockFragment: []byte("\x82\x86\x84\x41\x01a"), EndHeaders: true})
		}},
	} {
		f := dialFrames(t, address)
		if strings.Contains(test.name, "CONTINUATION") {
			f.must(f.write.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(request("GET", "/")...), EndStream: true}))
		} else {
			f.open(!strings.Contains(test.name, "DATA"), request("POST", "/")...)
		}
		_ = f.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = f.conn.SetDeadline(time.Now().Add(2 * time.Second))
		n, before := 0, heapInUse()
		for ; n < 200_000; n++ {
			if err := test.send(f); err != nil {
				break
			}
		}
		grown := heapInUse() - before
		t.Logf("%s: %d frames, %d KiB", test.name, n, grown>>10)
		if grown > test.most {
			t.Errorf("%s: %d bytes are held after %d frames", test.name, grown, n)
		}
		other := dialFrames(t, address)
		if a := other.wait(other.open(true, request("GET", "/")...)); a.String() != "200" {
			t.Errorf("%s: another client gets %s", test.name, a)
		}
		f.conn.Close()
	}
}

// TestHTTP2Streams refuses more streams at once than it has announced, and headers that would unpack
// to more than they may.
func TestHTTP2Streams(t *testing.T) {
	entered, release := make(chan bool, 300), make(chan bool, 300)
	_, address := startProxy(t, http2Options(startHoldingBackend(t, entered, release)))
	f := dialFrames(t, address)
	for range 251 {
		f.open(true, request("GET", "/")...)
	}
	if a := f.wait(f.last); a.String() != "reset PROTOCOL_ERROR" && a.String() != "reset REFUSED_STREAM" {
		t.Errorf("one stream more than 250: %s", a)
	}
	for range 250 {
		<-entered
		release <- true
	}
	bomb := dialFrames(t, address)
	block := append([]byte(nil), bomb.encode(append(request("GET", "/"), "x-large: "+strings.Repeat("a", 3000))...)...)
	for range 10_000 {
		block = append(block, 0x80|62) // the field again, from the table
	}
	bomb.last = 1
	bomb.must(bomb.write.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true}))
	if a := bomb.wait(1); a.status == "200" {
		t.Error("a header of 30 MB was taken")
	}
}
