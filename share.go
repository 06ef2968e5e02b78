package main

import (
	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared"
	"loadbalancer/state"
)

// shareSection is the section of the state that has how many instances shared the limits last, for a
// start while Redis is away.
const shareSection = "share"

// shareState is that section.
type shareState struct {
	Instances int64 `json:"instances"`
}

// sharesLimits reports whether limits hold over several instances. A central state is opened at the
// start alone, like the client store, and so also where limits are off but a reload may turn them on.
func (c *config) sharesLimits() bool { return c.Limiter.Share.IsOn() && c.needsClients() }

// newLimits returns the limiter, and what holds its limits over several instances, or nil.
func (c *config) newLimits() (*limiter.Limiter, *limiter.Share) {
	limits := limiter.New(c.Limiter.Config)
	if !c.sharesLimits() {
		return limits, nil
	}
	return limits, limits.Share(c.Limiter.Share.Wait)
}

// newTeller returns what brings to Redis what the share has to tell.
func newTeller(c config, share *limiter.Share, kept *state.File, log zerolog.Logger) (*shared.Teller, error) {
	var last shareState
	if _, err := kept.Get(shareSection, &last); err != nil {
		return nil, err
	}
	share.Assume(last.Instances)
	return shared.Open(c.Limiter.Share.URL, share, func() {
		if err := kept.Set(shareSection, shareState{share.Instances()}); err != nil {
			log.Warn().Err(err).Msg("the number of instances is not kept: a start while Redis is away takes another one")
		}
	}, log)
}
