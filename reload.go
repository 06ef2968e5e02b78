package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/management"
)

// reloads reads the config file again when it is asked to, and has what differs applied, one reload
// after another. now and last are safe for concurrent use.
type reloads struct {
	path string
	log  zerolog.Logger

	supervisor *supervisor // is told of each reload

	asked chan chan<- reloaded
	ended chan struct{} // closed when run returns
	state atomic.Pointer[management.LastReload]

	// The fields below belong to run.
	files    func() // takes up the files that the config names, as they are now
	config   config // in use
	text     []byte // the file that it was read from
	hasStore bool   // the client store was opened at the start
	apply    func(before, after config) error
}

// reloaded is what became of a reload.
type reloaded struct {
	changed []string // in words, one for each key
	err     error    // nothing was changed; it may have several lines, each of which stands for itself
}

func newReloads(path string, text []byte, c config, log zerolog.Logger) *reloads {
	r := &reloads{path: path, log: log, files: func() {}, asked: make(chan chan<- reloaded), ended: make(chan struct{}), config: c, text: text, hasStore: c.needsClients()}
	r.state.Store(&management.LastReload{OK: true})
	return r
}

// now reloads the config, and returns what was changed, or why nothing was. The ctx is that of a
// call, which ends with the process alone.
func (r *reloads) now(ctx context.Context) (changed []string, err error) {
	reply := make(chan reloaded, 1)
	select {
	case r.asked <- reply:
	case <-r.ended:
		return nil, management.ErrEnding
	case <-ctx.Done():
		return nil, management.ErrEnding
	}
	got := <-reply
	return got.changed, got.err
}

// management returns the reload as the management side shows it.
func (r *reloads) management() management.Reload {
	return management.Reload{Now: r.now, Last: r.last}
}

// last returns what became of the last reload.
func (r *reloads) last() management.LastReload { return *r.state.Load() }

// run reloads the config whenever now or one of the channels asks for it, until ctx ends. apply
// changes what runs from the config before to the one after, or changes nothing and returns why.
func (r *reloads) run(ctx context.Context, hangups <-chan os.Signal, saved <-chan struct{}, apply func(before, after config) error) {
	defer close(r.ended)
	r.apply = apply
	for {
		select {
		case <-hangups:
			r.reload("SIGHUP")
		case <-saved:
			r.reload("the file was saved")
		case reply := <-r.asked:
			reply <- r.reload("the API")
		case <-ctx.Done():
			return
		}
	}
}

// reload reloads the config once. The same bytes as those in use do nothing, and are no reload,
// except after one that failed: then they are one that succeeded.
func (r *reloads) reload(cause string) (result reloaded) {
	r.supervisor.reloading()
	defer r.supervisor.ready()
	began := time.Now()
	r.files() // of the same config, too
	text, err := reread(r.path)
	if err == nil && bytes.Equal(text, r.text) && r.last().OK {
		r.log.Info().Str("config", r.path).Str("cause", cause).Msg("the config file is as it was: nothing is reloaded")
		return reloaded{}
	}
	if result.err = err; err == nil {
		result.changed, result.err = r.change(text)
	}
	if result.err != nil { // whose lines the log and the API show
		result.err = errors.New(management.WithoutQueries(result.err.Error()))
	}
	total := r.last().Total + 1
	last := &management.LastReload{OK: result.err == nil, At: began, Total: total, Cause: cause, Changed: result.changed}
	if result.err != nil {
		last.Faults = strings.Split(strings.TrimSuffix(result.err.Error(), "\n"), "\n")
	}
	r.state.Store(last)
	if result.err != nil {
		for _, fault := range last.Faults {
			r.log.Error().Str("config", r.path).Str("fault", fault).
				Msg("the config was not reloaded, and nothing has changed")
		}
		return result
	}
	for _, line := range result.changed {
		r.log.Info().Str("change", line).Msg("config")
	}
	r.log.Info().Str("config", r.path).Str("cause", cause).Int("changes", len(result.changed)).
		Dur("took_ms", time.Since(began)).Msg("the config was reloaded")
	return result
}

// change applies what differs in the text of the file from the config in use.
func (r *reloads) change(text []byte) (changed []string, err error) {
	if bytes.Equal(text, r.text) {
		return nil, nil
	}
	after, document, err := parseDocument(r.path, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	changes := compare(r.config, after)
	if err := needRestart(document, r.config, after, changes, r.hasStore); err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		if err := r.apply(r.config, after); err != nil {
			return nil, err
		}
	}
	r.config, r.text = after, text
	for _, c := range changes {
		changed = append(changed, management.WithoutQueries(c.String()))
	}
	return changed, nil
}

// reread reads the config file again, unless that could wait for a writer that never comes.
func reread(path string) ([]byte, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	return readConfig(path)
}

// checkRegular returns an error if there is something else than a file at path.
func checkRegular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("read the config file: %s is no regular file; put one in its place, or restart", path)
	}
	return nil
}
