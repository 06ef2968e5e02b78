package store

import "encoding/json"

// clientArrays are the arguments that put clients, in the order of writtenColumns.
type clientArrays struct {
	id, plan, capacity, rate, maxInFlight, shadow, trialCapacity, trialRate, blocked, each array
	labels, expiresAt, createdAt, updatedAt, newestKey                                     array
}

func (a *clientArrays) add(id string, c *Client) {
	a.id.string(id)
	a.plan.string(c.Plan)
	a.capacity.number(c.Own.Capacity)
	a.rate.float(c.Own.RatePerSecond)
	a.maxInFlight.number(c.Own.MaxInFlight)
	a.shadow.bool(c.Own.Shadow)
	a.trialCapacity.number(c.Own.Trial.Capacity)
	a.trialRate.float(c.Own.Trial.RatePerSecond)
	a.blocked.bool(c.Own.Blocked)
	a.each.bool(c.Own.Each)
	var labels []byte
	if len(c.Labels) > 0 {
		labels, _ = json.Marshal(c.Labels) // texts never fail
	}
	a.labels.add(labels)
	a.expiresAt.time(c.ExpiresAt)
	a.createdAt.time(c.CreatedAt)
	a.updatedAt.time(c.UpdatedAt)
	var newest []byte
	if n := len(c.Keys); n > 0 {
		newest = bytea(c.Keys[n-1].Digest[:])
	}
	a.newestKey.add(newest)
}

func (a *clientArrays) args() [][]byte {
	return [][]byte{
		a.id.done(), a.plan.done(), a.capacity.done(), a.rate.done(), a.maxInFlight.done(), a.shadow.done(),
		a.trialCapacity.done(), a.trialRate.done(), a.blocked.done(), a.each.done(), a.labels.done(), a.expiresAt.done(),
		a.createdAt.done(), a.updatedAt.done(), a.newestKey.done(),
	}
}

// keyArrays are the arguments of putKeys.
type keyArrays struct{ name, id, digest, createdAt, expiresAt array }

func (a *keyArrays) add(c *Client) {
	for i := range c.Keys {
		k := &c.Keys[i]
		a.name.string(c.ID.Name)
		a.id.string(k.ID)
		a.digest.add(bytea(k.Digest[:]))
		a.createdAt.time(k.CreatedAt)
		a.expiresAt.time(k.ExpiresAt)
	}
}

func (a *keyArrays) args() [][]byte {
	return [][]byte{a.name.done(), a.id.done(), a.digest.done(), a.createdAt.done(), a.expiresAt.done()}
}
