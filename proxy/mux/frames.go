package mux

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// readFrames reads frames until one is the connection's last.
func (c *Conn) readFrames() error {
	for {
		f, err := c.reader.ReadFrame()
		if broken, ok := errors.AsType[http2.StreamError](err); ok {
			c.refuse(broken.StreamID, broken.Code, malformed(c.reader.ErrorDetail()))
			continue
		}
		if err != nil {
			if detail := c.reader.ErrorDetail(); detail != nil {
				err = fmt.Errorf("%w: %w", err, detail)
			}
			return c.ending(err)
		}
		if err := c.heed(f); err != nil {
			return c.ending(err)
		}
	}
}

// ending tells the backend of an error of its own, and returns the error.
func (c *Conn) ending(err error) error {
	code, ok := errors.AsType[http2.ConnectionError](err)
	if !ok {
		return err
	}
	w := &c.writer
	w.mu.Lock()
	_ = w.framer.WriteGoAway(0, http2.ErrCode(code), nil)
	w.flush()
	return fmt.Errorf("the backend breaks the rules of HTTP/2: %w", err)
}

// heed does what a frame says.
func (c *Conn) heed(f http2.Frame) error {
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.settled {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		c.quiet.sent()
		return c.data(f)
	case *http2.MetaHeadersFrame:
		c.quiet.sent()
		if s, err := c.stream(f.StreamID); s != nil || err != nil {
			if err == nil {
				s.header(f)
			}
			return err
		}
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f)
	case *http2.RSTStreamFrame:
		s, err := c.stream(f.StreamID)
		if s != nil {
			s.wasReset.Store(true)
			s.fail(ResetError{f.ErrCode})
		}
		return err
	case *http2.PingFrame:
		if !f.IsAck() {
			if c.writer.isFlooded() {
				return errFlood
			}
			w := &c.writer
			w.mu.Lock()
			_ = w.framer.WritePing(true, f.Data)
			return c.answer()
		}
	case *http2.GoAwayFrame:
		c.goAway(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// stream returns a stream that has begun, or nil if it has ended. A number that no stream has had
// is an error.
func (c *Conn) stream(id uint32) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id%2 == 0 || id >= c.next {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.streams[id], nil
}

// data hands over a part of a body. Its size is given back to the connection at once: a stream that
// is not read holds up no other.
func (c *Conn) data(f *http2.DataFrame) error {
	size := int(f.Length)
	if c.unread += size; c.unread > connWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if c.unread >= connWindow/2 {
		w := &c.writer
		w.mu.Lock()
		_ = w.framer.WriteWindowUpdate(0, uint32(c.unread))
		w.flush()
		c.unread = 0
	}
	s, err := c.stream(f.StreamID)
	if s != nil {
		s.receive(f.Data(), size, f.StreamEnded())
	}
	return err
}

// settings takes over what the backend allows.
func (c *Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if c.writer.isFlooded() {
		return errFlood
	}
	if f.HasDuplicates() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	most, initial := int64(-1), int64(-1)
	w := &c.writer
	w.mu.Lock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err // before it is gone by: others write headers until the connection has ended
		}
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			most = min(int64(s.Val), manyStreams)
		case http2.SettingMaxFrameSize:
			w.maxFrame = min(int(s.Val), largestFrame)
		case http2.SettingHeaderTableSize:
			w.encoder.SetMaxDynamicTableSize(min(s.Val, headerTable))
		case http2.SettingInitialWindowSize:
			initial = int64(s.Val)
		}
		return nil
	})
	w.mu.Unlock()
	if err == nil {
		err = c.settle(most, initial)
	}
	w.mu.Lock()
	_ = w.framer.WriteSettingsAck()
	return errors.Join(err, c.answer())
}

// answer sends a frame that answers the backend's, and fails where it does not read such. It is
// called while the writer's mu is held, and unlocks it.
func (c *Conn) answer() error {
	w := &c.writer
	w.answers++
	over := w.answers > maxAnswers
	w.flush()
	if over {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

// settle takes over how many streams the backend allows, and the window of a new one. Each is
// negative where it has not said.
func (c *Conn) settle(most, initial int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if initial >= 0 {
		if err := c.rebase(initial); err != nil {
			return err
		}
	}
	if !c.settled {
		c.settled = true
		if close(c.ready); most < 0 {
			most = manyStreams
		}
	}
	if most >= 0 && !c.retired {
		c.places.open(most)
	}
	return nil
}

// rebase changes the windows of all streams as the backend's for a new one has changed. It is called
// while mu is held.
func (c *Conn) rebase(initial int64) error {
	by := initial - c.initial
	c.initial = initial
	for _, s := range c.streams {
		if s.window += by; s.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		s.wake(s.room)
	}
	return nil
}

// widen lets more of a body be sent.
func (c *Conn) widen(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.window += int64(f.Increment); c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, s := range c.streams {
			s.wake(s.room)
		}
		return nil
	}
	s, err := c.stream(f.StreamID)
	if s == nil {
		return err
	}
	c.mu.Lock()
	s.window += int64(f.Increment)
	over := s.window > maxWindow
	c.mu.Unlock()
	if over {
		c.refuse(f.StreamID, http2.ErrCodeFlowControl, errWindow)
	}
	s.wake(s.room)
	return nil
}

// goAway ends the use of the connection for new streams. Those that the backend has not looked at
// fail as such.
func (c *Conn) goAway(f *http2.GoAwayFrame) {
	c.mu.Lock()
	c.goneAway = true
	var unprocessed []*Stream
	for id, s := range c.streams {
		if id > f.LastStreamID {
			unprocessed = append(unprocessed, s)
		}
	}
	c.mu.Unlock()
	for _, s := range unprocessed {
		s.wasReset.Store(true) // the backend ignores what comes of it
		s.fail(s.unprocessed())
	}
	c.Retire()
}

// unprocessed returns the error for a request that the backend has not looked at, as it says: one that
// it has begun to answer may have been processed all the same.
func (s *Stream) unprocessed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final || s.interims > 0 {
		return errBegun
	}
	return ErrUnprocessed
}

// refuse resets a stream on which the backend has broken a rule.
func (c *Conn) refuse(id uint32, code http2.ErrCode, err error) {
	s, _ := c.stream(id)
	if s == nil {
		return
	}
	s.fail(err)
	if !s.wasReset.Swap(true) {
		c.writer.reset(id, code)
	}
}
