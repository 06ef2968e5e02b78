package clients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"loadbalancer/clients/store"
)

// How a session with PostgreSQL goes on.
const (
	// beat is the time between two signs of life, or between two looks for changes where no
	// notifications arrive.
	beat = time.Second
	// reconcileEvery is the time between two looks for changes that no notification told of.
	reconcileEvery = 15 * time.Second
	// verifyEvery is the time between two comparisons of all that the copy has.
	verifyEvery = 10 * time.Minute
	// leastPause is the time between two looks for changes, so that 10,000 changes in a second are
	// at most 20 looks, with the first and the last.
	leastPause = 55 * time.Millisecond
	// attemptTimeout bounds one attempt to listen.
	attemptTimeout = 5 * time.Second
	// answerTimeout bounds a sign of life: PostgreSQL that takes longer counts as away.
	answerTimeout = 2 * time.Second
)

// run follows PostgreSQL until ctx ends, and enforces what expires.
func (f *followed) run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		f.expire(ctx)
		return nil
	})
	group.Go(func() error {
		f.Copy.Run(ctx, func(err error) {
			f.log.Warn().Err(err).Msg("the snapshot of the clients cannot be written yet: until it is, a start without PostgreSQL has an older one or none")
		})
		return nil
	})
	group.Go(func() error {
		f.follow(ctx)
		return nil
	})
	return group.Wait()
}

// expire enforces what expires. Where the copy is damaged, that goes on once it is made anew.
func (f *followed) expire(ctx context.Context) {
	for f.enforcer.run(ctx, f.Copy) != nil && pause(ctx, beat) == nil {
	}
}

// follow has one session with PostgreSQL after another.
func (f *followed) follow(ctx context.Context) {
	for retry := (backoff{}); ; {
		lived, err := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if lived && !errors.Is(err, context.DeadlineExceeded) {
			retry = backoff{} // the connection broke: another one tells whether PostgreSQL is away
			continue
		}
		if f.contact.lost() {
			f.log.Warn().Err(err).Msg("PostgreSQL is unavailable: limits stay as they are, changes are refused until it does")
		} else {
			f.log.Debug().Err(err).Msg("PostgreSQL is still unavailable")
		}
		if retry.wait(ctx) != nil {
			return
		}
	}
}

// session follows PostgreSQL over one connection, until that fails. It listens before it looks for
// changes, so that it misses none in between. It reports whether the connection lived for a
// while.
func (f *followed) session(ctx context.Context) (lived bool, err error) {
	if err := f.prepare(ctx); err != nil {
		return false, err
	}
	listener, hears, err := f.listen(ctx)
	if err != nil {
		return false, err
	}
	defer listener.Close()
	known := f.Loaded()
	if err := f.look(ctx, listener); err != nil {
		return false, err
	}
	if f.contact.found() {
		f.log.Info().Int64("version", f.Position().Version).Msg("PostgreSQL answers")
	}
	began := time.Now()
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return f.verifyNowAndThen(running, known) })
	group.Go(func() error {
		if hears {
			return f.attend(running, listener)
		}
		f.tellPolling()
		return f.poll(running, listener)
	})
	err = group.Wait()
	return time.Since(began) >= firstPause, err
}

// listen also reports whether notifications arrive.
func (f *followed) listen(ctx context.Context) (l *store.Listener, hears bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if l, err = f.truth.Listen(ctx); err != nil {
		return nil, false, err
	}
	if hears, err = l.Hears(ctx); err != nil {
		l.Close()
		return nil, false, err
	}
	return l, hears, nil
}

// attend looks for changes when a notification comes and when it is time.
func (f *followed) attend(ctx context.Context, l *store.Listener) error {
	for looked := time.Now(); ; {
		heard, err := f.await(ctx, l)
		switch {
		case err != nil:
		case heard || time.Since(looked) >= reconcileEvery:
			looked = time.Now()
			err = f.look(ctx, l)
		default:
			err = f.ping(ctx, l)
		}
		if err == nil && heard {
			err = pause(ctx, leastPause-time.Since(looked))
		}
		if err != nil {
			return err
		}
		f.contact.found()
	}
}

// poll looks for changes at every beat.
func (f *followed) poll(ctx context.Context, l *store.Listener) error {
	for {
		if err := pause(ctx, beat); err != nil {
			return err
		}
		if err := f.look(ctx, l); err != nil {
			return err
		}
		f.contact.found()
	}
}

// await waits for a notification, for a beat at most.
func (f *followed) await(ctx context.Context, l *store.Listener) (heard bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	err = l.Wait(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

func (f *followed) ping(ctx context.Context, l *store.Listener) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return l.Ping(ctx)
}

// look brings what has changed, for as long as that takes while PostgreSQL gives signs of life.
func (f *followed) look(ctx context.Context, l *store.Listener) error {
	group, looking := errgroup.WithContext(ctx)
	looked := make(chan struct{})
	group.Go(func() error {
		defer close(looked)
		return f.catchUp(looking, latest)
	})
	group.Go(func() error { return f.pingUntil(looking, looked, l) })
	return group.Wait()
}

// pingUntil asks for a sign of life at every beat, until done is closed.
func (f *followed) pingUntil(ctx context.Context, done <-chan struct{}, l *store.Listener) error {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ticker.C:
			if err := f.ping(ctx, l); err != nil {
				return err
			}
		}
	}
}

// verifyNowAndThen verifies the copy, at once if it is known from before the session.
func (f *followed) verifyNowAndThen(ctx context.Context, known bool) error {
	for missed := 0; ; known = true {
		if known {
			compared, err := f.verify(ctx)
			if err != nil {
				return err
			}
			if missed++; compared {
				missed = 0
			}
		}
		if err := pause(ctx, untilNextVerify(missed)); err != nil {
			return err
		}
	}
}

// untilNextVerify returns the time to the next comparison after missed ones, in which changes came.
// They are soon repeated, but ever later while changes keep coming, because they read all rows.
func untilNextVerify(missed int) time.Duration {
	if missed == 0 || missed > 6 {
		return verifyEvery
	}
	return reconcileEvery << (missed - 1)
}

// verify compares all that the copy has with what PostgreSQL has, and loads it anew if they differ:
// changes with the triggers off, a restored backup or a failover that lost commits leave no trace
// in the versions. If changes come meanwhile, nothing is compared.
func (f *followed) verify(ctx context.Context) (compared bool, err error) {
	at := f.Position()
	var have store.Sum
	if err := f.sum(&have); err != nil {
		return false, fmt.Errorf("read the copy of the clients: %w", err)
	}
	there, want, err := f.truth.Checksum(ctx)
	if err != nil {
		return false, err
	}
	compared = at == there && at == f.Position()
	if !compared || have == want {
		return compared, f.truth.Prune(ctx)
	}
	f.log.Warn().Int64("version", at.Version).
		Msg("the clients in PostgreSQL have changed without a new version: loading all of them")
	if err := f.applying.take(ctx); err != nil {
		return false, err
	}
	defer f.applying.give()
	return true, f.reload(ctx)
}

// sum adds up all that the instance has.
func (f *followed) sum(have *store.Sum) error {
	plans, err := f.Copy.Plans()
	if err != nil {
		return err
	}
	for i := range plans {
		have.AddPlan(&plans[i])
	}
	f.bad.sum(have)
	return each(f.Copy, have.Add)
}

func (f *followed) tellPolling() {
	f.polling.Do(func() {
		f.log.Warn().Msg("no notifications arrive, as behind a pooler in transaction mode: " +
			"looking for changes every second instead; they take up to a second more to be enforced")
	})
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
