package acme

import (
	"context"
	"fmt"
	"time"
)

// lease is a lock that is held. It is a row with a time at which it ends unless it is renewed, so
// that an instance that has crashed holds up the others for that long at most. The clock is that of
// the database.
type lease struct {
	holder  string
	end     context.CancelFunc
	renewed chan struct{} // closed when it is no longer renewed
}

// databaseLockPause is how often a lock that another instance has is tried again.
const databaseLockPause = 500 * time.Millisecond

// Lock waits for a lock until ctx ends or the database is away.
func (d *database) Lock(ctx context.Context, name string) error {
	return await(ctx, d, name, databaseLockPause)
}

// TryLock takes a lock that no instance has, or one that has not been renewed in time.
func (d *database) TryLock(ctx context.Context, name string) (ok bool, err error) {
	l := &lease{holder: holder(), renewed: make(chan struct{})}
	err = d.on(ctx, func(ctx context.Context) error {
		done, err := d.pool.Exec(ctx, "INSERT INTO acme_locks AS l (name, holder, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3)) "+
			"ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE l.expires_at < now() OR l.holder = excluded.holder",
			name, l.holder, d.lease.Seconds())
		ok = err == nil && done.RowsAffected() == 1
		return err
	})
	if !ok {
		return false, err
	}
	renewing, end := context.WithCancel(context.WithoutCancel(ctx))
	l.end = end
	go d.renew(renewing, name, l)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[name] = l
	return true, nil
}

// renew renews a lock until ctx ends. While the database is away it tries on: the other instances
// cannot take the lock then, either.
func (d *database) renew(ctx context.Context, name string, l *lease) {
	defer close(l.renewed)
	for pause(ctx, d.lease/3) == nil {
		_ = d.on(ctx, func(ctx context.Context) error {
			_, err := d.pool.Exec(ctx, "UPDATE acme_locks SET expires_at = now() + make_interval(secs => $3) WHERE name = $1 AND holder = $2",
				name, l.holder, d.lease.Seconds())
			return err
		})
	}
}

// Unlock gives a lock back. If the database is away, the lock ends by its time.
func (d *database) Unlock(ctx context.Context, name string) error {
	d.mu.Lock()
	l := d.held[name]
	delete(d.held, name)
	d.mu.Unlock()
	if l == nil {
		return fmt.Errorf("the lock %s is not held", name)
	}
	l.end()
	<-l.renewed
	return d.on(ctx, func(ctx context.Context) error {
		_, err := d.pool.Exec(ctx, "DELETE FROM acme_locks WHERE name = $1 AND holder = $2", name, l.holder)
		return err
	})
}
