package http2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http2"

	"loadbalancer/proxy/ends"
)

// FuzzFrames has a client send any bytes behind the preface and its settings. Whatever it sends,
// nothing panics, and with the client the connection ends, with all of its streams.
func FuzzFrames(f *testing.F) {
	const request = "\x82\x86\x84\x41\x01a" // GET http://a/
	header := func(id uint32, block string, ends, whole bool) http2.HeadersFrameParam {
		return http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block), EndStream: ends, EndHeaders: whole}
	}
	for _, send := range []func(f *http2.Framer){
		func(f *http2.Framer) {
			_ = f.WriteHeaders(header(1, request, false, false))
			_ = f.WriteContinuation(1, true, []byte("\x00\x01a\x01b"))
			_ = f.WriteDataPadded(1, false, []byte("body"), []byte{0, 0})
			_ = f.WriteHeaders(header(1, "\x00\x01a\x01b", true, true))
			_ = f.WriteHeaders(header(3, request+"\x0f\x0d\x014", false, true))
			_ = f.WriteData(3, true, []byte("five!"))
		},
		func(f *http2.Framer) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize}, http2.Setting{ID: http2.SettingHeaderTableSize})
			_ = f.WriteHeaders(header(1, request, true, true))
			_ = f.WriteWindowUpdate(1, 20)
			_ = f.WriteWindowUpdate(1, maxWindow)
			_ = f.WriteRSTStream(1, http2.ErrCodeCancel)
			_ = f.WritePing(false, [8]byte{})
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		},
		func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: []byte(request), EndHeaders: true, PadLength: 3, Priority: http2.PriorityParam{StreamDep: 5}})
			_ = f.WritePriority(5, http2.PriorityParam{StreamDep: 5})
			_ = f.WriteHeaders(header(7, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", true, true))
		},
	} {
		var out bytes.Buffer
		framer := http2.NewFramer(&out, nil)
		framer.AllowIllegalWrites = true
		send(framer)
		f.Add(out.Bytes())
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var faults bytes.Buffer
		activity := &ends.Activity{Log: zerolog.New(&faults)}
		s := NewServer(Options{Bounds: bounds, MaxHeaderSize: 8 << 10, Handle: func(s ends.Stream) { answer(s, 100) }, Activity: activity})
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() { s.Serve(&plainConn{Conn: server}); close(done) }()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		_, _ = io.WriteString(client, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		_, _ = client.Write(sent)
		client.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection does not end with its client")
		}
		if n := activity.InFlight.Load(); n != 0 && !eventuallyZero(activity) {
			t.Errorf("%d requests are in flight", n)
		}
		if faults.Len() > 0 {
			t.Error(faults.String())
		}
	})
}

// eventuallyZero waits for the goroutines of streams, which count down behind their last step.
func eventuallyZero(a *ends.Activity) bool {
	for by := time.Now().Add(5 * time.Second); a.InFlight.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(by) {
			return false
		}
	}
	return true
}
