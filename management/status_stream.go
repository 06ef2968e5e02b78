package management

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

// maxStreams bounds the streams of the status at a time that the calls with one token have, or those
// without, so that none keeps others from looking.
const maxStreams = 100

// stream has what is new told to all that follow it, of which none is waited for: one that has not
// taken a message when the next ones come gets the latest of these. It is safe for concurrent use.
type stream struct {
	most  int
	ended chan struct{} // closed by end

	mu        sync.Mutex
	followers map[string]int // by the name of their callers
	latest    *message
}

// message is one for all followers.
type message struct {
	text  []byte
	newer chan struct{} // closed once there is another
}

func newStream(most int) stream {
	return stream{most: most, ended: make(chan struct{}), followers: map[string]int{}, latest: &message{newer: make(chan struct{})}}
}

// end ends the stream for all. It is called once.
func (s *stream) end() { close(s.ended) }

// isFollowed reports whether a message would reach anyone.
func (s *stream) isFollowed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.followers) > 0
}

// isFull reports whether join would fail.
func (s *stream) isFull(caller string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.followers[caller] >= s.most
}

// join counts a follower, until leave, and returns the latest message, which it does not get.
func (s *stream) join(caller string) (last *message, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[caller] >= s.most {
		return nil, false
	}
	s.followers[caller]++
	return s.latest, true
}

func (s *stream) leave(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[caller]--; s.followers[caller] == 0 {
		delete(s.followers, caller)
	}
}

// publish makes a text the latest message.
func (s *stream) publish(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.latest
	s.latest = &message{text: text, newer: make(chan struct{})}
	close(before.newer)
}

// next waits for a message after this one, and returns the latest, or nil once the stream has ended.
func (s *stream) next(last *message) *message {
	select {
	case <-s.ended:
		return nil
	case <-last.newer:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// event returns a server-sent event whose data are the JSON of a value.
func event(value any) []byte {
	text := bytes.NewBufferString("data: ")
	encoder := json.NewEncoder(text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil { // ends with a line break, and has no other
		panic(fmt.Sprintf("BUG: encode %T: %v", value, err))
	}
	text.WriteByte('\n')
	return text.Bytes()
}

// streamStatus answers with the status as server-sent events: at once with the whole history, and
// then each second with what is new of it. It ends with RunStatus, and when the config is reloaded,
// or its session ends, since the token of the call may count no longer: a client connects again.
func (m *Server) streamStatus(_ context.Context, ctx *fasthttp.RequestCtx) error {
	s, caller, isOpen := &m.watch.stream, rest.CallerOf(ctx).Name(), m.API.access.follow(ctx)
	if s.isFull(caller) {
		return &rest.Fault{Code: rest.Unavailable, RetryAfter: 1,
			Message: fmt.Sprintf("%d streams of the status are open by this caller's token, or by callers without one, and no more are allowed; try again later", s.most)}
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.Header.Set("X-Accel-Buffering", "no") // nginx between would hold events back
	return rest.Stream(ctx, "text/event-stream", func(w *bufio.Writer) error {
		last, ok := s.join(caller)
		if !ok {
			return nil // others were faster; the client connects again
		}
		defer s.leave(caller)
		text := append([]byte("retry: 1000\n\n"), event(m.status(time.Now(), everything))...)
		for last != nil && isOpen(time.Now()) {
			if _, err := w.Write(text); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if last = s.next(last); last != nil {
				text = last.text
			}
		}
		return nil
	})
}
