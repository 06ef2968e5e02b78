package clients

import (
	"strings"

	"github.com/rs/zerolog"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// keptUsage has the counts of the clients outlive a clean end of the process, in a file beside that
// of the store.
type keptUsage struct {
	path  string // "": they are not kept
	taken bool   // what the file had is in the limiter: it may be written
}

// usageFile returns where the counts are kept: beside the store's file or, with PostgreSQL, its
// snapshot.
func usageFile(cfg Config) string {
	path, isFile := strings.CutPrefix(cfg.Store, filePrefix)
	if store.IsPostgres(cfg.Store) {
		path, isFile = cfg.Snapshot, cfg.Snapshot != ""
	}
	if !isFile {
		return ""
	}
	return path + ".usage"
}

// restore gives the limiter the counts of the process before. Its clients have to be there.
func (k *keptUsage) restore(to *limiter.Limiter, log zerolog.Logger) {
	if k.path == "" {
		return
	}
	all, err := store.TakeUsage(k.path)
	if err != nil {
		log.Warn().Err(err).Msg("the counts of the clients' requests are not restored")
	}
	for id, usage := range all {
		to.Restore(id, usage) // false for a client that is gone
	}
	k.taken = true
}

// save writes the counts for the process after.
func (k *keptUsage) save(from *limiter.Limiter, log zerolog.Logger) {
	if !k.taken {
		return
	}
	if err := store.SaveUsage(k.path, from.Used()); err != nil {
		log.Warn().Err(err).Msg("the counts of the clients' requests are lost")
	}
}
