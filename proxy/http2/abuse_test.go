package http2

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"loadbalancer/proxy/ends"
)

// TestResetsThatTheClientCauses cost it as much as its own (CVE-2025-8671): what each has begun is for
// nothing.
func TestResetsThatTheClientCauses(t *testing.T) {
	var begun atomic.Int64
	dial, end := startServer(t, func(s ends.Stream) {
		begun.Add(1)
		answer(s, 0) // reads a body that does not come
	})
	defer end()
	for name, reset := range map[string]func(c *client, stream uint32){
		"an update by 0":                   func(c *client, stream uint32) { _ = c.WriteWindowUpdate(stream, 0) },
		"a window that overflows":          func(c *client, stream uint32) { _ = c.WriteWindowUpdate(stream, maxWindow) },
		"a priority that has another size": func(c *client, stream uint32) { _ = c.WriteRawFrame(http2.FramePriority, 0, stream, []byte{1}) },
		"a dependency on itself": func(c *client, stream uint32) {
			_ = c.WritePriority(stream, http2.PriorityParam{StreamDep: stream})
		},
		"a body of another length": func(c *client, stream uint32) { _ = c.WriteData(stream, false, make([]byte, 10)) },
		"a reset":                  func(c *client, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeCancel) },
	} {
		begun.Store(0)
		began := time.Now()
		c := dial()
		go func() {
			for stream := uint32(1); stream < 2*6000; stream += 2 {
				c.open(stream, false, get("content-length: 5")...)
				reset(c, stream)
			}
			_ = c.WritePing(false, [8]byte([]byte("all done")))
		}()
		got := c.next()
		for strings.Contains(got, " reset ") {
			got = c.next()
		}
		most := fullAllowance/costOfReset + int64(time.Since(began)/time.Second+1)*earnedBySecond/costOfReset + maxStreams
		if n := begun.Load(); !strings.HasSuffix(got, "ENHANCE_YOUR_CALM") || n > most {
			t.Errorf("%s: %q, after %d requests, want at most %d", name, got, n, most)
		}
		c.Close()
	}
}

// TestMalformedRequests whose resets are not read end the connection before they take much memory.
func TestMalformedRequests(t *testing.T) {
	c := newConn(&plainConn{}, &Options{MaxHeaderSize: 8 << 10, Handle: func(s ends.Stream) { answer(s, 0) }, Activity: new(ends.Activity)}, bounds)
	c.out.writing = true // a write that goes on
	for n := 1; n <= 2*maxControl; n++ {
		why := c.receive(&frame{kind: frameHeaders, flags: flagEndHeaders | flagEndStream, stream: uint32(2*n - 1), payload: []byte{0x82}})
		c.mu.Lock()
		for len(c.streams) > 0 {
			c.ended.Wait()
		}
		c.mu.Unlock()
		if why != nil {
			if *why != *connFault(codeEnhanceCalm) || n <= maxControl {
				t.Errorf("%v after %d resets that wait", *why, n)
			}
			return
		}
	}
	t.Errorf("%d resets wait, in %d bytes", 2*maxControl, len(c.out.buf))
}

// TestWindowOfSeveral goes by the last of several initial windows in one SETTINGS.
func TestWindowOfSeveral(t *testing.T) {
	dial, end := startServer(t, func(s ends.Stream) { answer(s, 100) })
	defer end()
	c := dial()
	defer c.Close()
	window := func(n uint32) http2.Setting { return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n} }
	_ = c.WriteSettings(window(0), window(maxWindow), window(7))
	c.open(1, true, get()...)
	c.expect(t, "1 headers, end false", "1 data 7, end false")
	_ = c.WriteSettings(window(maxWindow), window(50))
	c.expect(t, "1 data 43, end false")
	_ = c.WriteSettings(window(0))
	_ = c.WriteWindowUpdate(1, 60)
	c.expect(t, "1 data 10, end false")
	_ = c.WriteSettings(window(50), window(maxWindow+1))
	c.expect(t, "goaway 1 FLOW_CONTROL_ERROR")
}
