//go:build !linux

package wire

// Departures does nothing on this system: a departed client is noticed when its response is
// written.
type Departures struct{}

// Open does nothing.
func (*Departures) Open() (close func(), err error) { return func() {}, nil }

// Add does nothing.
func (*Departures) Add(*Watch, *Conn) {}

// Remove does nothing.
func (*Departures) Remove(*Watch) {}

// AllLeft does nothing.
func (*Departures) AllLeft() {}
