package central

import (
	"maps"
	"time"
)

// Lapse is for how long an instance without a beat counts as one that lives.
const Lapse = 3 * time.Second

// Beat is what an instance hears when it tells that it lives.
type Beat struct {
	Instances int64
	Epoch     int64         // another one when data was lost
	Now       time.Duration // of the central clock
	Before    time.Duration // Now of the instance's last beat that the central state knows of, -1 without one
}

// Beat tells that an instance lives.
func (c *Central) Beat(now time.Duration, id string) Beat {
	if c.members == nil {
		c.members = map[string]time.Duration{}
	}
	if c.epoch == 0 {
		c.epochs++
		c.epoch = c.epochs
	}
	before, ok := c.members[id]
	if !ok {
		before = -1
	}
	c.members[id] = now
	maps.DeleteFunc(c.members, func(_ string, at time.Duration) bool { return at < now-Lapse })
	return Beat{int64(len(c.members)), c.epoch, now, before}
}

// Part tells that an instance ends.
func (c *Central) Part(id string) { delete(c.members, id) }
