package shared

import (
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// repeatAfter is the time after which the log tells once more that the server is away for the same
// cause as before. A server that is at times too slow would fill it.
const repeatAfter = time.Minute

// news tells the log when the server comes and goes.
type news struct {
	log       zerolog.Logger
	password  string // which a server may repeat in an error; "": none
	cause     string // why the server was away when that was told last
	told      time.Time
	isTold    bool      // that it is away
	since     time.Time // since when it is away, if that is told
	instances int64
}

// away says that the server is away.
func (n *news) away(err error) {
	why := cause(err)
	if n.password != "" {
		why = strings.ReplaceAll(why, n.password, "…")
	}
	if why == n.cause && (n.isTold || time.Since(n.told) < repeatAfter) {
		return
	}
	n.cause, n.told = why, time.Now()
	if !n.isTold {
		n.isTold, n.since = true, n.told
	}
	n.log.Warn().Str("cause", why).
		Msg("Redis is away: until it is back, this instance lets through its part of each limit")
}

// there says that the server answers.
func (n *news) there(instances int64, lost bool) {
	if lost {
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
