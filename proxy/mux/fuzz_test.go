package mux

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/wire"
)

// frames returns what a backend sends.
func frames(send func(f *http2.Framer)) []byte {
	var out bytes.Buffer
	f := http2.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	send(f)
	return out.Bytes()
}

// FuzzBackend has a backend answer two requests, of which one has a body, with any bytes behind its
// settings. Whatever it sends, both requests end, what is taken for a header can go on as lines of
// HTTP/1, and with the backend the connection ends.
func FuzzBackend(f *testing.F) {
	header := func(id uint32, block string, ends, whole bool) http2.HeadersFrameParam {
		return http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block), EndStream: ends, EndHeaders: whole}
	}
	for _, send := range []func(f *http2.Framer){
		func(f *http2.Framer) {
			_ = f.WriteHeaders(header(1, "\x88", false, true))
			_ = f.WriteDataPadded(1, false, []byte("body"), []byte{0, 0})
			_ = f.WriteHeaders(header(1, "\x00\x01a\x01b", true, true))
			_ = f.WriteHeaders(header(3, "\x08\x03103", false, false))
			_ = f.WriteContinuation(3, true, []byte("\x00\x01a\x01b"))
			_ = f.WriteHeaders(header(3, "\x8d", true, true))
		},
		func(f *http2.Framer) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize}, http2.Setting{ID: http2.SettingMaxConcurrentStreams})
			_ = f.WriteWindowUpdate(3, maxWindow)
			_ = f.WriteWindowUpdate(0, 10)
			_ = f.WriteGoAway(1, http2.ErrCodeNo, nil)
			_ = f.WriteHeaders(header(1, "\x88\x00\x01A\x01b", false, true))
		},
		func(f *http2.Framer) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1 << 31})
			_ = f.WriteRSTStream(1, http2.ErrCodeRefusedStream)
			_ = f.WritePing(false, [8]byte{})
			_ = f.WriteData(3, true, []byte("no header"))
			_ = f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		},
	} {
		f.Add(frames(send))
	}
	ln, err := net.Listen("unix", filepath.Join(f.TempDir(), "s"))
	if err != nil {
		f.Fatal(err)
	}
	defer ln.Close()
	f.Fuzz(func(t *testing.T, sent []byte) {
		dialed, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		backend, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		_, _ = backend.Write(frames(func(f *http2.Framer) { _ = f.WriteSettings() }))
		over, ended := wire.Over(dialed), make(chan struct{}, 1)
		c, err := Open(&over, time.Now().Add(5*time.Second), Options{Keep: time.Minute, MaxHeader: 8 << 10, Ended: func(*Conn) { ended <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for _, body := range []string{"", strings.Repeat("x", 70_000)} { // more than the first window
			s := c.Reserve()
			if _, err := s.Begin(requestFields, nil, body == ""); err != nil {
				t.Fatal(err)
			}
			wait.Go(func() { answerOf(t, s, body) })
		}
		_, _ = backend.Write(sent)
		_ = backend.(*net.UnixConn).CloseWrite()
		wait.Wait()
		mustEnd(t, ended)
		if n := c.places.taken.Load(); n != 0 {
			t.Errorf("%d places are taken", n)
		}
	})
}

// answerOf sends a body, and reads the response to the end or to a failure.
func answerOf(t *testing.T, s *Stream, body string) {
	defer s.End()
	var sending sync.WaitGroup
	if body != "" {
		sending.Go(func() { _ = s.Send([]byte(body), true, 5*time.Second) })
	}
	defer sending.Wait()
	defer s.StopSending()
	s.BoundRead(time.Now().Add(5 * time.Second))
	for status := 0; status < 200; {
		h, err := s.Header()
		if wire.TimedOut(err) {
			t.Error("the wait for a header does not end with the connection")
		}
		if err != nil {
			return
		}
		if status = h.Status; status < 100 || status == 101 {
			t.Errorf("status %d", status)
		}
		mustBeLines(t, h.Fields)
	}
	for buf := make([]byte, 0, 1<<10); !s.Ended(); {
		if _, err := s.Read(buf, 5*time.Second); err != nil {
			if wire.TimedOut(err) {
				t.Error("the wait for a body does not end with the connection")
			}
			return
		}
	}
	mustBeLines(t, s.Trailers())
}

// mustBeLines fails the test for fields that are more or less than a line of HTTP/1 each.
func mustBeLines(t *testing.T, fields []hpack.HeaderField) {
	for _, f := range fields {
		if f.Name == "" || strings.ContainsAny(f.Name, ": \t\r\n\x00ABCDEFGHIJKLMNOPQRSTUVWXYZ") || strings.ContainsAny(f.Value, "\r\n\x00") {
			t.Errorf("field %q: %q", f.Name, f.Value)
		}
	}
}
