package backend

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Fault is what is wrong with a backend: the JSON of PUT /control.
type Fault struct {
	// Kind is one of the kinds below.
	Kind string `json:"fault"`
	// Status is that of the responses of a backend that fails, 200 to 599; 0 means 500.
	Status int `json:"status,omitempty"`
	// Delay is the wait before each response of a slow backend.
	Delay Duration `json:"delay,omitempty"`
	// Fraction is the fraction of requests that the fault hits, above 0 and up to 1; 1 if it is
	// left out. A restart hits all.
	Fraction float64 `json:"fraction,omitempty"`
	// For is how long the fault lasts; 0 means until the next PUT. A restart lasts for a second
	// then.
	For Duration `json:"for,omitempty"`
	// Checks has the fault hit GET /healthz, too. A restart always does.
	Checks bool `json:"checks,omitempty"`

	over chan struct{} // closed when the fault ends
}

// The kinds of faults.
const (
	None    = "none"
	Fail    = "fail"    // the status, at once
	Slow    = "slow"    // the delay, then the response
	Hang    = "hang"    // nothing until the fault ends, then the response
	Stall   = "stall"   // the header, and the body once the fault ends
	Reset   = "reset"   // a TCP reset
	Close   = "close"   // the connection's end
	Restart = "restart" // nothing listens, for a time
)

var kinds = []string{None, Fail, Slow, Hang, Stall, Reset, Close, Restart}

func newFault() *Fault { return &Fault{Kind: None, over: make(chan struct{})} }

// maxFault is the largest JSON of a fault, in bytes.
const maxFault = 4 << 10

// parseFault parses the JSON of a fault; nil reads as nothing. Its error says what is allowed.
func parseFault(body io.Reader) (*Fault, error) {
	if body == nil {
		body = strings.NewReader("")
	}
	read := struct {
		*Fault
		Requests uint64 `json:"requests"` // GET returns it; ignored
	}{Fault: newFault()}
	read.Fraction = 1
	d := json.NewDecoder(io.LimitReader(body, maxFault))
	d.DisallowUnknownFields()
	if err := d.Decode(&read); err != nil {
		return nil, fmt.Errorf(`%w: want JSON such as {"fault":"fail","status":503,"fraction":0.5,"for":"10s"}`, err)
	}
	f := read.Fault
	switch {
	case f.Kind == Fail && f.Status == 0:
		f.Status = 500
	case f.Kind == Restart && f.For == 0:
		f.For = Duration(time.Second)
	}
	return f, f.validate()
}

func (f *Fault) validate() error {
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("fault %q: must be one of %s", f.Kind, strings.Join(kinds, ", "))
	case f.Kind == Fail && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("status %d: must be from 200 to 599", f.Status)
	case f.Kind == Slow && f.Delay <= 0:
		return errors.New("delay: must be above 0, such as 200ms")
	case !(f.Fraction > 0 && f.Fraction <= 1):
		return fmt.Errorf("fraction %v: must be above 0 and at most 1", f.Fraction)
	case f.For < 0:
		return errors.New("for: must be 0 or more, such as 10s")
	}
	return nil
}

// hits reports whether the fault hits the next request, or the next check.
func (f *Fault) hits(check bool) bool {
	return f.Kind != None && (f.Checks || !check) && (f.Fraction == 1 || rand.Float64() < f.Fraction)
}

// Duration is a time such as 1.5s in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
