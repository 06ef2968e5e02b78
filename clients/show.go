package clients

import (
	"time"

	"loadbalancer/limiter"
)

// clientJSON is a client in a response. It has either IPAddress or Name, and never the key.
type clientJSON struct {
	IPAddress     string    `json:"ip_address,omitempty"`
	Name          string    `json:"name,omitempty"`
	Capacity      int64     `json:"capacity"`
	RatePerSecond float64   `json:"rate_per_second"`
	MaxInFlight   int64     `json:"max_in_flight,omitempty"`
	Shadow        bool      `json:"shadow,omitempty"`
	Trial         limitJSON `json:"trial,omitzero"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// limitJSON is a limiter.Limit in a response.
type limitJSON struct {
	Capacity      int64   `json:"capacity"`
	RatePerSecond float64 `json:"rate_per_second"`
}

func show(c client) clientJSON {
	shown := clientJSON{
		Name:          c.ID.Name,
		Capacity:      c.Terms.Capacity,
		RatePerSecond: c.Terms.RatePerSecond,
		MaxInFlight:   c.Terms.MaxInFlight,
		Shadow:        c.Terms.Shadow,
		Trial:         limitJSON(c.Terms.Trial),
		CreatedAt:     c.createdAt,
		UpdatedAt:     c.updatedAt,
	}
	if shown.Name == "" {
		shown.IPAddress = c.ID.String()
	}
	return shown
}

// usageJSON is a limiter.Usage in a response.
type usageJSON struct {
	Tokens        float64    `json:"tokens"`
	Allowed       int64      `json:"allowed"`
	Limited       int64      `json:"limited"`
	ShadowLimited int64      `json:"shadow_limited"`
	TrialLimited  int64      `json:"trial_limited"`
	InFlight      int64      `json:"in_flight"`
	LastSeen      *time.Time `json:"last_seen"` // null without requests
}

func showUsage(u limiter.Usage) usageJSON {
	shown := usageJSON{
		Tokens:        u.Tokens,
		Allowed:       u.Allowed,
		Limited:       u.Limited,
		ShadowLimited: u.ShadowLimited,
		TrialLimited:  u.TrialLimited,
		InFlight:      u.InFlight,
	}
	if !u.LastSeen.IsZero() {
		seen := u.LastSeen.UTC()
		shown.LastSeen = &seen
	}
	return shown
}

// limitedJSON is a limiter.Limited in a response.
type limitedJSON struct {
	Client     string `json:"client"`
	Registered bool   `json:"registered"`
	Shadow     bool   `json:"shadow"`
	Rejections int64  `json:"rejections"`
}

func showLimited(clients []limiter.Limited) []limitedJSON {
	shown := make([]limitedJSON, 0, len(clients)) // not nil: an empty list is [], not null
	for _, one := range clients {
		shown = append(shown, limitedJSON(one))
	}
	return shown
}
