package mux

import (
	"os"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Send sends a part of the body, at the pace of the backend, which must take something within every
// time of patience. ends reports whether it is the last, and no trailers follow.
func (s *Stream) Send(p []byte, ends bool, patience time.Duration) error {
	for {
		n, err := s.take(len(p), patience)
		if err != nil {
			return err
		}
		last := ends && n == len(p)
		if err := s.conn.writer.data(s, p[:n], last); err != nil {
			return err
		}
		s.sent = last
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
}

// SendTrailers ends the body with fields, whose names are in lower case.
func (s *Stream) SendTrailers(fields []hpack.HeaderField) error {
	err := s.conn.writer.trailers(s, fields)
	s.sent = err == nil
	return err
}

// take takes up to n bytes of what the backend allows to be sent, and waits where it allows none.
func (s *Stream) take(n int, patience time.Duration) (int, error) {
	var timer *time.Timer
	for {
		if err := s.mayWrite(); err != nil || n == 0 {
			return 0, err
		}
		if got := s.tryTake(n); got > 0 {
			return got, nil
		}
		if timer == nil {
			timer = time.NewTimer(patience)
			defer timer.Stop()
		}
		select {
		case <-s.room:
		case <-timer.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (s *Stream) tryTake(n int) int {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	got := min(int64(n), s.window, c.window)
	if got <= 0 {
		return 0
	}
	s.window -= got
	c.window -= got
	return int(got)
}

// takeAll takes n bytes, if the backend allows so many.
func (s *Stream) takeAll(n int) bool {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if int64(n) > min(s.window, c.window) {
		return false
	}
	s.window -= int64(n)
	c.window -= int64(n)
	return true
}

// mayWrite returns why nothing more can be sent, or nil.
func (s *Stream) mayWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sendErr == nil && s.wasReset.Load() {
		return ErrStopped
	}
	return s.sendErr
}

// StopSending makes a Send that waits fail, and those that follow.
func (s *Stream) StopSending() {
	s.mu.Lock()
	if s.sendErr == nil {
		s.sendErr = ErrStopped
	}
	s.mu.Unlock()
	s.wake(s.room)
	w := &s.conn.writer
	w.mu.Lock()
	w.room.Broadcast()
	w.mu.Unlock()
}
