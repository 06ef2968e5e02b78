package mux

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"loadbalancer/proxy/wire"
)

// hostile is a backend that sends frames of all kinds.
type hostile struct {
	*http2.Framer
	net.Conn
}

// openHostile opens a connection to a backend that has sent its settings, and reads nothing more.
func openHostile(t testing.TB) (c *Conn, backend *hostile, ended <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	_ = accepted.SetDeadline(time.Now().Add(10 * time.Second))
	backend = &hostile{http2.NewFramer(accepted, accepted), accepted}
	backend.AllowIllegalWrites = true
	_ = backend.WriteSettings()
	over, done := wire.Over(dialed), make(chan struct{}, 1)
	c, err = Open(&over, time.Now().Add(5*time.Second), Options{Keep: time.Minute, MaxHeader: 64 << 10, Ended: func(*Conn) { done <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	return c, backend, done
}

// mustEnd fails the test if the connection goes on.
func mustEnd(t testing.TB, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the connection lives on")
	}
}

// TestSettingsThatAreNotValid end the connection, and are never gone by: with frames of no size a
// header would have no end.
func TestSettingsThatAreNotValid(t *testing.T) {
	for _, size := range []uint32{0, frameSize - 1, 1 << 24} {
		c, backend, ended := openHostile(t)
		_ = backend.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: size})
		mustEnd(t, ended)
		c.writer.mu.Lock()
		if c.writer.maxFrame != frameSize {
			t.Errorf("frames of %d bytes are sent", c.writer.maxFrame)
		}
		c.writer.mu.Unlock()
	}
}

// stall has the writer in a write that goes on, once the backend has all that was written for it.
func stall(t *testing.T, w *writer, backend *hostile) {
	t.Helper()
	_, _ = io.CopyN(io.Discard, backend.Conn, int64(len(http2.ClientPreface)))
	for acknowledged := false; !acknowledged; {
		f, err := backend.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		settings, ok := f.(*http2.SettingsFrame)
		acknowledged = ok && settings.IsAck()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing {
		w.mu.Unlock()
		time.Sleep(time.Millisecond)
		w.mu.Lock()
	}
	w.writing = true
}

// TestAnswersThatAreNotRead end the connection.
func TestAnswersThatAreNotRead(t *testing.T) {
	for name, send := range map[string]func(*hostile) error{
		"PING":     func(b *hostile) error { return b.WritePing(false, [8]byte{}) },
		"SETTINGS": func(b *hostile) error { return b.WriteSettings() },
	} {
		c, backend, ended := openHostile(t)
		stall(t, &c.writer, backend)
		for range maxAnswers {
			if err := send(backend); err != nil {
				t.Fatal(name, err)
			}
		}
		select {
		case <-ended:
			t.Errorf("%s: the connection ends before %d answers wait", name, maxAnswers)
		case <-time.After(50 * time.Millisecond):
		}
		_ = send(backend)
		mustEnd(t, ended)
		if want := http2.ConnectionError(http2.ErrCodeEnhanceYourCalm); !errors.Is(c.err, want) {
			t.Errorf("%s: it ends with %v, want %v", name, c.err, want)
		}
	}
}

// TestPaddingIsGivenBack has a backend send more padding than the window of a stream, in frames of
// which each has one byte of the body.
func TestPaddingIsGivenBack(t *testing.T) {
	c, backend, ended := openHostile(t)
	s := c.Reserve()
	if _, err := s.Begin(requestFields, nil, true); err != nil {
		t.Fatal(err)
	}
	const frames = 2000
	window := make(chan int, 1000)
	go func() {
		_, _ = io.CopyN(io.Discard, backend.Conn, int64(len(http2.ClientPreface)))
		for {
			f, err := backend.ReadFrame()
			if err != nil {
				close(window)
				return
			}
			if f, ok := f.(*http2.WindowUpdateFrame); ok && f.StreamID == 1 {
				window <- int(f.Increment)
			}
		}
	}()
	go func() {
		_ = backend.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true})
		left := streamWindow
		for i := range frames {
			for left < 257 {
				left += <-window
			}
			left -= 257
			_ = backend.WriteDataPadded(1, i == frames-1, []byte("x"), make([]byte, 255))
		}
	}()
	s.BoundRead(time.Now().Add(5 * time.Second))
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	got := 0
	for buf := make([]byte, 0, 1<<10); !s.Ended(); {
		b, err := s.Read(buf, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got += len(b)
	}
	if got != frames {
		t.Errorf("%d bytes came, want %d", got, frames)
	}
	s.End()
	c.Retire()
	<-ended
}
