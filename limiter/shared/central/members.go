package central

import (
	"maps"
	"strconv"
	"time"

	"loadbalancer/limiter/shared/member"
)

// remembered is for how long the last beat of an instance is remembered.
const remembered = time.Hour

// Beat tells that an instance lives.
func (c *Central) Beat(now time.Duration, id string) member.Beat {
	if c.members == nil {
		c.members = map[string]time.Duration{}
	}
	if c.epoch == 0 {
		c.epochs++
		c.epoch = c.epochs
	}
	b := member.Beat{Epoch: strconv.Itoa(c.epoch), Process: strconv.Itoa(c.process), Now: now, Before: member.None}
	if before, ok := c.members[id]; ok {
		b.Before = before
	}
	c.members[id] = now
	maps.DeleteFunc(c.members, func(_ string, at time.Duration) bool { return at < now-remembered })
	for _, at := range c.members {
		if at >= now-member.Lapse {
			b.Instances++
		}
	}
	return b
}

// Part tells that an instance ends.
func (c *Central) Part(id string) { delete(c.members, id) }
