package http2

import (
	"encoding/binary"
	"time"

	"loadbalancer/proxy/message"
)

// receive takes a frame. It returns what is wrong with it, or nil.
func (c *conn) receive(f *frame) *fault {
	if c.header.stream != 0 {
		if f.kind != frameContinuation || f.stream != c.header.stream {
			return connFault(codeProtocol) // nothing may come in between (RFC 9113, section 6.10)
		}
		return c.receiveContinuation(f)
	}
	switch f.kind {
	case frameHeaders:
		return c.receiveHeaders(f)
	case frameContinuation:
		return connFault(codeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return nil // the next read tells
	}
	if cost := costOf(f); cost > 0 && !c.budget.spend(cost, time.Now) {
		return connFault(codeEnhanceCalm)
	}
	switch f.kind {
	case frameData:
		return c.receiveData(f)
	case framePriority:
		if dependsOn(f.payload) == f.stream {
			return &fault{codeProtocol, f.stream}
		}
	case frameReset:
		return c.receiveReset(f)
	case frameSettings:
		return c.receiveSettings(f)
	case framePing:
		return c.receivePing(f)
	case frameWindow:
		return c.receiveWindow(f)
	}
	return nil // a client's GOAWAY is about streams that a server does not begin
}

// costOf returns what a frame takes from the allowance.
func costOf(f *frame) int {
	if f.kind == frameData && f.size > 0 {
		return 0 // it fills a window
	}
	return costOfFrame
}

// receiveData adds data to a stream.
func (c *conn) receiveData(f *frame) *fault {
	data, ok := f.unpadded()
	if !ok {
		return connFault(codeProtocol)
	}
	if c.received += f.size; c.received > connWindow {
		return connFault(codeFlowControl)
	}
	if c.received >= connWindow/2 {
		c.out.buf = appendWindow(c.out.space(), 0, c.received)
		c.received = 0
		c.flush()
	}
	s := c.streams[f.stream]
	switch {
	case f.stream > c.last && c.goAway == left, s == nil && f.stream <= c.last && c.resets.has(f.stream), s != nil && s.wasReset:
		return nil // it was on its way
	case s == nil && (f.stream > c.last || f.stream%2 == 0):
		return connFault(codeProtocol)
	case s == nil || s.remoteEnd:
		return &fault{codeStreamClosed, f.stream}
	case !s.inbox.arrive(f.size):
		return &fault{codeFlowControl, f.stream}
	case s.length >= 0 && s.arrived+int64(len(data)) > s.length:
		s.die(errLength)
		return &fault{codeProtocol, f.stream}
	}
	s.arrived += int64(len(data))
	if s.dead == nil {
		s.inbox.put(data)
	}
	if more := s.inbox.credit(f.size - len(data)); more > 0 {
		c.out.buf = appendWindow(c.out.space(), s.id, more)
		c.flush()
	}
	if f.flags.has(flagEndStream) {
		c.endRemotely(s)
	}
	if len(data) > 0 || s.remoteEnd {
		s.receiving.wake()
	}
	return nil
}

// endsWith ends a request with trailers.
func (c *conn) endsWith(stream uint32, t *message.Trailers) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[stream]; s != nil && s.dead == nil {
		s.trailers = *t
		c.endRemotely(s)
		s.receiving.wake()
	}
}

// receiveReset ends a stream's work.
func (c *conn) receiveReset(f *frame) *fault {
	if f.stream > c.last && c.goAway != left || f.stream%2 == 0 {
		return connFault(codeProtocol)
	}
	s := c.streams[f.stream]
	if s == nil {
		return nil
	}
	if !s.answered && !c.budget.spend(costOfReset, time.Now) {
		return connFault(codeEnhanceCalm)
	}
	s.remoteEnd = true
	s.die(errGone)
	return nil
}

// receiveSettings goes by the client's settings from now on.
func (c *conn) receiveSettings(f *frame) *fault {
	if f.flags.has(flagAck) {
		return nil
	}
	initial := c.initial
	for all := f.payload; len(all) > 0; all = all[6:] {
		value := binary.BigEndian.Uint32(all[2:])
		switch id := binary.BigEndian.Uint16(all); {
		case id == settingPush && value > 1, id == settingFrameSize && (value < maxFrameSize || value >= 1<<24):
			return connFault(codeProtocol)
		case id == settingInitialWindow && value > maxWindow:
			return connFault(codeFlowControl)
		case id == settingInitialWindow:
			initial = int64(value) // of several the last counts: each would touch all streams
		case id == settingTableSize:
			c.out.encoder.resize(int(min(value, tableSize)))
		}
	}
	// First, so that it stands before what the larger window lets go out.
	if !c.answer(appendFrame(nil, frameSettings, flagAck, 0, 0)) {
		return connFault(codeEnhanceCalm)
	}
	if initial != c.initial && !c.resize(initial) {
		return connFault(codeFlowControl)
	}
	return nil
}

// resize changes the window that streams begin with, and by as much those of the streams that have
// begun (RFC 9113, section 6.9.2). ok is false if one becomes too large.
func (c *conn) resize(to int64) (ok bool) {
	by := to - c.initial
	c.initial = to
	for _, s := range c.streams {
		if !widen(&s.window, by) {
			return false
		}
		c.push(s)
	}
	return true
}

// receivePing answers a PING, or ends with the answer to drain's.
func (c *conn) receivePing(f *frame) *fault {
	if f.flags.has(flagAck) {
		if c.goAway == announced && string(f.payload) == string(drainPing) {
			c.leave(codeNone)
		}
		return nil
	}
	if !c.answer(appendPing(nil, flagAck, f.payload)) {
		return connFault(codeEnhanceCalm)
	}
	return nil
}

// receiveWindow lets more be sent.
func (c *conn) receiveWindow(f *frame) *fault {
	by := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	if f.stream == 0 {
		if by == 0 {
			return connFault(codeProtocol)
		}
		if !widen(&c.window, by) {
			return connFault(codeFlowControl)
		}
		c.wakeBlocked()
		return nil
	}
	if f.stream > c.last && c.goAway != left || f.stream%2 == 0 {
		return connFault(codeProtocol)
	}
	s := c.streams[f.stream]
	switch {
	case by == 0:
		return &fault{codeProtocol, f.stream}
	case s == nil:
		return nil
	case !widen(&s.window, by):
		return &fault{codeFlowControl, f.stream}
	}
	c.push(s)
	return nil
}

// resetFor resets a stream because of what the client has sent. ok is false if that is too much.
func (c *conn) resetFor(why *fault) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[why.stream]
	switch {
	case s == nil, s.localEnd && s.remoteEnd: // it is closed, though its work may not have ended yet
	case s.wasReset, s.localEnd:
		s.die(errFrames)
		return true
	default:
		s.die(errFrames)
		s.wasReset = true
	}
	c.reset(why.stream, why.code)
	c.out.control++
	return c.out.control <= maxControl && c.budget.spend(costOfReset, time.Now)
}

// reset appends a RST_STREAM. It is called while mu is held.
func (c *conn) reset(stream uint32, code errorCode) {
	c.resets.add(stream)
	c.out.buf = appendReset(c.out.space(), stream, code)
	c.flush()
}
