package main

import (
	"crypto/rand"
	"maps"

	"loadbalancer/proxy/upstream"
	"loadbalancer/state"
)

// stickySection is the section of the state that has the secret of sticky pools, made once.
const stickySection = "sticky"

// stickyState is that section.
type stickyState struct {
	Secret upstream.Secret `json:"secret"`
}

// withSecrets returns the config with a secret for each sticky pool that has none of its own. The
// state keeps it, so that cookies outlive a restart.
func (c config) withSecrets(kept *state.File) (config, error) {
	pools := maps.Clone(c.Pools)
	for name, p := range pools {
		if p.Sticky.Cookie == "" || p.Sticky.Secret != "" {
			continue
		}
		secret, err := stickySecret(kept)
		if err != nil {
			return config{}, err
		}
		p.Sticky.Secret = secret
		pools[name] = p
	}
	c.Pools = pools
	return c, nil
}

// stickySecret returns the secret that the state keeps, which is made first where it has none.
func stickySecret(kept *state.File) (upstream.Secret, error) {
	var s stickyState
	if _, err := kept.Get(stickySection, &s); err != nil {
		return "", err
	}
	if s.Secret == "" {
		s.Secret = upstream.Secret(rand.Text())
		if err := kept.Set(stickySection, s); err != nil {
			return "", err
		}
	}
	return s.Secret, nil
}
