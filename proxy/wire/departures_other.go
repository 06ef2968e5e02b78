//go:build !linux

package wire

// Departures does nothing on this system: a departed client is noticed when its response is
// written.
type Departures struct{}

// Open does nothing.
func (*Departures) Open() (close func(), err error) { return func() {}, nil }
func (*Departures) add(*Watch)                      {}
func (*Departures) remove(*Watch)                   {}

// AllLeft does nothing.
func (*Departures) AllLeft() {}
