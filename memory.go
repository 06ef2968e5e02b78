package main

import (
	"errors"
	"math"
	"os"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"
)

// memoryShare is the share of the cgroup's memory that the garbage collector keeps the heap within;
// the rest is for what it does not count, such as the kernel's socket buffers.
const memoryShare = 0.9

// limitMemory makes the garbage collector heed the memory limit of the cgroup, unless GOMEMLIMIT is
// set: a container that would be killed at its limit collects more often before. The number of
// processors follows the cgroup without this.
func limitMemory(log zerolog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit, err := memlimit.Set(memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithRatio(memoryShare))
	switch {
	case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup):
	case err == nil && (limit == 0 || limit == math.MaxInt64): // there is no limit
	case err != nil:
		log.Debug().Err(err).Msg("the memory limit of the cgroup is unknown")
	default:
		log.Info().Int64("bytes", limit).Msg("the heap keeps within 90 % of the memory limit of the cgroup")
	}
}
