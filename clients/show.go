package clients

import (
	"fmt"
	"strconv"
	"time"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// clientJSON is a client in a response. It has either IPAddress or Name, and never a key. Capacity
// and RatePerSecond are absent where they are the plan's.
type clientJSON struct {
	IPAddress     string            `json:"ip_address,omitempty"`
	Name          string            `json:"name,omitempty"`
	Keys          []keyJSON         `json:"api_keys,omitempty"`
	Plan          string            `json:"plan,omitempty"`
	Capacity      int64             `json:"capacity,omitempty"`
	RatePerSecond float64           `json:"rate_per_second,omitempty"`
	MaxInFlight   int64             `json:"max_in_flight,omitempty"`
	Shadow        bool              `json:"shadow,omitempty"`
	Trial         limitJSON         `json:"trial,omitzero"`
	Each          bool              `json:"each,omitempty"`
	Blocked       bool              `json:"blocked,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	ExpiresAt     *time.Time        `json:"expires_at,omitempty"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
}

// limitJSON is a limiter.Limit in a response.
type limitJSON struct {
	Capacity      int64   `json:"capacity"`
	RatePerSecond float64 `json:"rate_per_second"`
}

// keyJSON is a key in a response. SHA256 is in exports alone.
type keyJSON struct {
	ID        string     `json:"id"`
	SHA256    string     `json:"sha256,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func show(c store.Client) clientJSON {
	shown := clientJSON{
		Name:          c.ID.Name,
		Plan:          c.Plan,
		Capacity:      c.Own.Capacity,
		RatePerSecond: c.Own.RatePerSecond,
		MaxInFlight:   c.Own.MaxInFlight,
		Shadow:        c.Own.Shadow,
		Trial:         limitJSON(c.Own.Trial),
		Each:          c.Own.Each,
		Blocked:       c.Own.Blocked,
		Labels:        c.Labels,
		ExpiresAt:     optional(c.ExpiresAt),
		CreatedAt:     c.CreatedAt,
		UpdatedAt:     c.UpdatedAt,
	}
	if shown.Name == "" {
		shown.IPAddress = c.ID.String()
	}
	for _, k := range c.Keys {
		shown.Keys = append(shown.Keys, showKey(k))
	}
	return shown
}

func showKey(k store.Key) keyJSON {
	return keyJSON{ID: k.ID, CreatedAt: k.CreatedAt, ExpiresAt: optional(k.ExpiresAt)}
}

// optional returns the time, or nil for the zero time.
func optional(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// tag returns the entity tag of what was last changed at a version of the store, quotes included. A
// standby that takes over without the last changes gives their versions to others: the time tells
// them apart.
func tag(version int64, updatedAt time.Time) string {
	return fmt.Sprintf(`"%d-%s"`, version, strconv.FormatInt(updatedAt.UnixMicro(), 36))
}

// usageJSON is a limiter.Usage in a response.
type usageJSON struct {
	Tokens        float64    `json:"tokens"`
	Allowed       int64      `json:"allowed"`
	Limited       int64      `json:"limited"`
	ShadowLimited int64      `json:"shadow_limited"`
	TrialLimited  int64      `json:"trial_limited"`
	Blocked       int64      `json:"blocked"`
	InFlight      int64      `json:"in_flight"`
	Addresses     int64      `json:"addresses,omitempty"`
	LastSeen      *time.Time `json:"last_seen"` // null without requests
}

func showUsage(u limiter.Usage) usageJSON {
	shown := usageJSON{
		Tokens:        u.Tokens,
		Allowed:       u.Allowed,
		Limited:       u.Limited,
		ShadowLimited: u.ShadowLimited,
		TrialLimited:  u.TrialLimited,
		Blocked:       u.Blocked,
		InFlight:      u.InFlight,
		Addresses:     u.Addresses,
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
		shown = append(shown, limitedJSON{Client: one.Client, Registered: one.Registered, Shadow: one.Shadow, Rejections: one.Rejections})
	}
	return shown
}
