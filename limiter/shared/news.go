package shared

import (
	"maps"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// repeatAfter is the time after which the log tells the same once more: that the server is away for a
// cause, or has lost data. A server that comes and goes each second would fill it.
const repeatAfter = time.Minute

// news tells the log when the server comes and goes.
type news struct {
	log       zerolog.Logger
	password  string               // which a server may repeat in an error; "": none
	told      map[string]time.Time // when each thing was told, less than repeatAfter ago
	cause     string               // why the server was away when that was told last
	isTold    bool                 // that it is away
	since     time.Time            // since when it is away, if that is told
	instances int64
}

// away says that the server is away.
func (n *news) away(err error) {
	why := cause(err)
	if n.password != "" {
		why = strings.ReplaceAll(why, n.password, "…")
	}
	if n.isTold && why == n.cause || !n.isNew(why) {
		return
	}
	n.cause = why
	if !n.isTold {
		n.isTold, n.since = true, time.Now()
	}
	n.log.Warn().Str("cause", why).
		Msg("Redis is away: until it is back, this instance lets through its part of each limit")
}

// isNew reports whether a thing was not told of late, and takes it as told now.
func (n *news) isNew(what string) bool {
	maps.DeleteFunc(n.told, func(_ string, at time.Time) bool { return time.Since(at) >= repeatAfter })
	if _, known := n.told[what]; known {
		return false
	}
	if n.told == nil {
		n.told = map[string]time.Time{}
	}
	n.told[what] = time.Now()
	return true
}

// there says that the server answers.
func (n *news) there(instances int64, lost bool) {
	if lost && n.isNew("lost") {
		n.log.Warn().Msg("Redis has lost data: the debts that this instance knows are told again")
	}
	switch {
	case n.isTold:
		n.log.Info().Int64("instances", instances).Dur("away_ms", time.Since(n.since)).Msg("Redis is back: limits are shared")
	case n.instances == 0:
		n.log.Info().Int64("instances", instances).Msg("limits are shared by Redis")
	case n.instances != instances:
		n.log.Info().Int64("instances", instances).Msg("another number of instances shares the limits")
	}
	n.isTold, n.instances = false, instances
}
