package top

import (
	"slices"

	tea "charm.land/bubbletea/v2"
)

// press does what a key stands for.
func (m model) press(key tea.KeyPressMsg) tea.Cmd {
	s := m.screen
	switch name := key.String(); {
	case name == "ctrl+c":
		return tea.Quit
	case name == "ctrl+z":
		return tea.Suspend
	case !isEnough(m.width, m.height) && name != "q": // nothing is seen of what it would do
	case s.entry.help:
		s.entry.help = false
	case s.entry.question != nil:
		return m.answer(name)
	case s.entry.isTyping:
		s.edit(name, key.Text)
	default:
		s.entry.said = ""
		return m.command(name)
	}
	return nil
}

// command does what a key stands for while nothing is asked or typed.
func (m model) command(name string) tea.Cmd {
	s := m.screen
	switch name {
	case "q":
		return tea.Quit
	case "?", "h":
		s.entry.help = true
	case "/":
		s.entry.isTyping = true
	case "esc":
		if l := &s.lists[s.focus]; l.filter != "" {
			l.filter = ""
			s.chooseVisible()
		}
	case "tab", "shift+tab":
		s.focus = 1 - s.focus
	case "s":
		s.sortByNext()
	case "S", "shift+s":
		l := &s.lists[s.focus]
		l.reversed = !l.reversed
	case "d":
		return m.drain()
	case "r":
		return m.resume()
	default:
		s.move(name)
	}
	return nil
}

// steps are how many rows a key moves by.
var steps = map[string]int{
	"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -10, "pgdown": 10,
	"home": -1 << 30, "g": -1 << 30, "end": 1 << 30, "G": 1 << 30, "shift+g": 1 << 30,
}

// move chooses another row.
func (s *screen) move(name string) {
	step, known := steps[name]
	if !known {
		return
	}
	at := slices.Index(s.ids(s.focus), s.lists[s.focus].chosen)
	if at < 0 { // the first key chooses an end
		step = min(0, step)
		at = 0
	}
	s.choose(s.focus, at+step)
}

// choose chooses a row of a list by its index, or the nearest.
func (s *screen) choose(which, at int) {
	ids, l := s.ids(which), &s.lists[which]
	if l.chosen = (place{}); len(ids) > 0 {
		l.chosen = ids[min(max(at, 0), len(ids)-1)]
	}
}

func (s *screen) sortByNext() {
	l, n := &s.lists[s.focus], len(backendOrders)
	if s.focus == clients {
		n = len(clientOrders)
	}
	l.order, l.reversed = (l.order+1)%n, false
}

// edit changes the filter.
func (s *screen) edit(name, text string) {
	l := &s.lists[s.focus]
	switch name {
	case "enter":
		s.entry.isTyping = false
	case "esc":
		s.entry.isTyping, l.filter = false, ""
	case "backspace":
		if runes := []rune(l.filter); len(runes) > 0 {
			l.filter = string(runes[:len(runes)-1])
		}
	default:
		s.add(text)
		return
	}
	s.chooseVisible()
}

// maxFilter bounds the filter, in bytes.
const maxFilter = 40

// add adds to the filter what was typed or pasted.
func (s *screen) add(text string) {
	if l := &s.lists[s.focus]; len(l.filter)+len(text) <= maxFilter {
		l.filter += clean(text)
	}
	s.chooseVisible()
}

// chooseVisible chooses the first row where the filter hides the chosen one.
func (s *screen) chooseVisible() {
	if !slices.Contains(s.ids(s.focus), s.lists[s.focus].chosen) {
		s.choose(s.focus, 0)
	}
}

// drain drains the chosen backend, and asks first where that may hurt.
func (m model) drain() tea.Cmd {
	s := m.screen
	b := m.target()
	if b == nil {
		return nil
	}
	if b.isDrained() {
		s.entry.said, s.entry.failed = clean(b.Address)+" is drained already; r resumes it", false
		return nil
	}
	if why := s.hurts(b); why != "" {
		s.entry.question = &question{b.place(), why}
		return nil
	}
	return m.act("drain", b.place())
}

// resume resumes the chosen backend. That does not hurt.
func (m model) resume() tea.Cmd {
	b := m.target()
	if b == nil {
		return nil
	}
	if !b.isDrained() {
		m.screen.entry.said, m.screen.entry.failed = clean(b.Address)+" is not drained", false
		return nil
	}
	return m.act("resume", b.place())
}

// target returns the backend that an action is for. Without one it says so.
func (m model) target() *backend {
	s := m.screen
	if s.focus == backends {
		if b := s.chosen(); b != nil {
			return b
		}
	}
	s.entry.said, s.entry.failed = "Choose a backend first: Tab leads to the list, and the arrows to its rows", true
	return nil
}

// answer takes the answer to the question. All but yes is no.
func (m model) answer(name string) tea.Cmd {
	q := m.screen.entry.question
	m.screen.entry.question = nil
	if name == "y" {
		return m.act("drain", q.at)
	}
	m.screen.entry.said, m.screen.entry.failed = "Nothing was done", false
	return nil
}
