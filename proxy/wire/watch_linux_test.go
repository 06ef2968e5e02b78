package wire

import (
	"testing"
	"time"
)

// TestWatch has a client leave while it is watched, before that, and after it: the backend's
// connection is stopped in the first two, and nothing is left of a watch that has ended.
func TestWatch(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after bool // the client leaves before the watch, or after it
	}{{"while watched", false, false}, {"before", true, false}, {"after", false, true}} {
		t.Run(test.name, func(t *testing.T) {
			var d Departures
			shut, err := d.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer shut()
			peer, client := pair(t)
			_, backend := pair(t)
			var w Watch
			w.Begin(&announcer{&d, client}, backend)
			if test.before {
				peer.Close()
			}
			if !w.Start() || w.Start() || !w.Started() {
				t.Error("a watch begins once")
			}
			if !test.before && !test.after {
				peer.Close()
			}
			if !test.after {
				for end := time.Now().Add(5 * time.Second); !w.Gone.Load() && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
			}
			w.Stop()
			if len(d.watches) != 0 {
				t.Errorf("%d watches are left", len(d.watches))
			}
			if test.after {
				peer.Close()
				time.Sleep(20 * time.Millisecond) // long enough for the event that must not count
			}
			if gone := w.Gone.Load(); gone == test.after || backend.IsStopped() != gone {
				t.Errorf("gone is %v, the backend's connection is stopped: %v", gone, backend.IsStopped())
			}
		})
	}
}

// announcer tells of the departure of one client.
type announcer struct {
	departures *Departures
	client     *Conn
}

func (a *announcer) Announce(w *Watch)       { a.departures.Add(w, a.client) }
func (a *announcer) Forget(w *Watch)         { a.departures.Remove(w) }
func (*announcer) WatchAfter() time.Duration { return WatchAfter }
