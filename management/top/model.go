package top

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
)

// The messages, beside those of bubbletea.
type (
	told struct { // by the stream
		from *stream
		doc  *document
		at   time.Time
	}
	lost struct { // the stream
		why   string        // "": the load balancer has ended it
		pause time.Duration // before the next attempt
	}
	opened struct{ stream *stream }
	done   struct { // an action
		said   string
		failed bool
	}
	second time.Time
)

// How long the model waits after a stream has broken, and after the API has not let it in: it
// counts wrong tokens, and logs them.
const (
	retryPause   = time.Second
	refusedPause = 30 * time.Second
)

// model is the program of bubbletea.
type model struct {
	screen        *screen
	rates         *rates
	client        *client
	ctx           context.Context // ends with the program
	first         *stream
	ascii         bool
	width, height int
}

// Init begins to listen.
func (m model) Init() tea.Cmd { return tea.Batch(listen(m.first), tick()) }

// Update changes the screen by a message, and returns what is to be done next.
func (m model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	s := m.screen
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case second:
		s.news.now = time.Time(message)
		return m, tick()
	case told:
		m.hear(message.doc, message.at)
		return m, listen(message.from)
	case lost:
		if message.why != "" {
			s.news.trouble, s.news.pause = message.why, message.pause
		}
		return m, m.open(message.pause)
	case opened:
		return m, listen(message.stream)
	case done:
		s.entry.said, s.entry.failed = message.said, message.failed
	case tea.PasteMsg:
		if s.entry.isTyping {
			s.add(message.Content)
		}
	case tea.KeyPressMsg:
		return m, m.press(message)
	}
	return m, nil
}

// View draws the screen.
func (m model) View() tea.View {
	text := m.screen.view(m.width, m.height)
	if m.ascii {
		text = plain(text)
	}
	v := tea.NewView(text)
	v.AltScreen = true
	return v
}

// hear takes in a document that came at a time.
func (m model) hear(d *document, at time.Time) {
	s := m.screen
	n := &s.news
	isFirst := n.doc == nil
	n.doc, n.heard, n.now, n.trouble = d, at, at, ""
	n.samples = withHistory(n.samples, &d.History)
	m.rates.add(d)
	for which := range s.lists { // nothing else gets chosen because what was chosen is gone
		if isFirst {
			s.choose(which, 0)
		} else if l := &s.lists[which]; !slices.Contains(s.ids(which), l.chosen) {
			l.chosen = place{}
		}
	}
}

func tick() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return second(t) })
}

// listen waits for the next message of a stream.
func listen(s *stream) tea.Cmd {
	return func() tea.Msg {
		d, err := s.next()
		if err == nil {
			return told{s, d, time.Now()}
		}
		s.close()
		if errors.Is(err, io.EOF) {
			return lost{pause: retryPause}
		}
		return loss(err)
	}
}

// loss is the loss of a stream by an error, or that there was none to open.
func loss(err error) lost {
	if f := (*failure)(nil); errors.As(err, &f) && f.refused {
		return lost{err.Error(), refusedPause}
	}
	return lost{err.Error(), retryPause}
}

// open opens another stream after a pause.
func (m model) open(pause time.Duration) tea.Cmd {
	return tea.Tick(pause, func(time.Time) tea.Msg {
		s, err := m.client.follow(m.ctx)
		if err != nil {
			return loss(err)
		}
		return opened{s}
	})
}

// act does an action, and tells what has become of it.
func (m model) act(action string, at place) tea.Cmd {
	m.screen.entry.said, m.screen.entry.failed = clean(at.address)+": "+action+" …", false
	return func() tea.Msg {
		said, err := m.client.act(m.ctx, action, at)
		if err != nil {
			return done{"Cannot " + action + " " + clean(at.address) + ": " + err.Error(), true}
		}
		return done{said, false}
	}
}
