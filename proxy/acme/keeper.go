package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// keeper has the certificate of one domain, in a goroutine of its own.
type keeper struct {
	manager *Manager
	name    string
	woken   chan struct{}
	end     context.CancelFunc
	ended   chan struct{}

	// The fields below belong to the goroutine.
	current  certmagic.Certificate // Empty: there is none
	issuer   string                // that current is from
	failures int                   // in a row, of the storage
}

const (
	// A certificate is looked at this often in its lifetime, within the bounds below.
	looksInLifetime = 60
	shortestLook    = time.Second
	longestLook     = 10 * time.Minute // certmagic's own
	// While an order is not due, the storage is looked at this often: another instance may have got
	// the certificate, or an operator may have deleted the record of the last order.
	waitingLook = time.Minute
	// The pause after a failure of the storage: it doubles from the first to the last.
	firstStorage, lastStorage = time.Second, time.Minute
)

func startKeeper(ctx context.Context, m *Manager, name string) *keeper {
	k := &keeper{manager: m, name: name, woken: make(chan struct{}, 1), ended: make(chan struct{})}
	ctx, k.end = context.WithCancel(ctx)
	go func() {
		defer close(k.ended)
		defer k.end()
		k.run(ctx)
	}()
	return k
}

// wake makes the keeper look at once, after a reload.
func (k *keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

func (k *keeper) run(ctx context.Context) {
	for {
		err := k.look(ctx, k.manager.active.Load())
		if ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(k.report(err))
		select {
		case <-timer.C:
		case <-k.woken:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// look gets the certificate if there is none of the authority, and renews one that is due.
func (k *keeper) look(ctx context.Context, a *active) error {
	magic := a.magic
	if k.issuer != a.issuer.key {
		return k.obtain(ctx, a, magic)
	}
	k.takeRenewed(ctx, a)
	if !k.current.NeedsRenewal(magic) {
		return nil
	}
	if err := k.due(ctx, a); err != nil {
		return err
	}
	if err := magic.RenewCertSync(ctx, k.name, false); err != nil {
		return err
	}
	return k.load(ctx, a, magic, "renewed")
}

// obtain takes the certificate of the storage, or orders one.
func (k *keeper) obtain(ctx context.Context, a *active, magic *certmagic.Config) error {
	err := k.load(ctx, a, magic, "in the storage")
	k.manager.set(k.name, func(d *domain) { d.looked = true })
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := k.due(ctx, a); err != nil {
		return err
	}
	if err := magic.ObtainCertSync(ctx, k.name); err != nil {
		return err
	}
	return k.load(ctx, a, magic, "issued")
}

// due waits until challenges can be answered, and returns an error while no order is due.
func (k *keeper) due(ctx context.Context, a *active) error {
	if ready := k.manager.options.Ready; ready != nil {
		select {
		case <-ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return a.issuer.attempts.due(ctx, k.name, false)
}

// load serves the certificate of the storage.
func (k *keeper) load(ctx context.Context, a *active, magic *certmagic.Config, how string) error {
	c, err := magic.CacheManagedCertificate(ctx, k.name)
	if err != nil {
		return err
	}
	k.issuer = a.issuer.key
	a.issuer.attempts.forget(ctx, k.name)
	k.manager.options.Log.Info().Str("domain", k.name).Str("authority", k.issuer).Time("expires", c.Leaf.NotAfter).
		Str("certificate", how).Msg("certificate")
	k.serve(c)
	return nil
}

// takeRenewed serves what certmagic's maintenance has renewed, the certificate or its OCSP staple.
func (k *keeper) takeRenewed(ctx context.Context, a *active) {
	for _, c := range k.manager.cache.AllMatchingCertificates(k.name) {
		if c.Leaf.NotBefore.After(k.current.Leaf.NotBefore) || c.Hash() == k.current.Hash() && !bytes.Equal(c.OCSPStaple, k.current.OCSPStaple) {
			k.serve(c)
			a.issuer.attempts.forget(ctx, k.name)
			return
		}
	}
}

// serve has handshakes get a certificate, and no longer the ones before.
func (k *keeper) serve(c certmagic.Certificate) {
	m := k.manager
	var others []string
	for _, other := range m.cache.AllMatchingCertificates(k.name) {
		if other.Hash() != c.Hash() {
			others = append(others, other.Hash())
		}
	}
	m.cache.Remove(others)
	k.current = c
	served := tls.Certificate(c.Certificate)
	m.set(k.name, func(d *domain) { d.certificate, d.fault, d.next = &served, "", time.Time{} })
	m.cache.SetOptions(certmagic.CacheOptions{GetConfigForCert: m.configFor, Logger: m.log, RenewCheckInterval: m.shortestInterval()})
}

// report publishes and logs what a look has come to, and returns when to look again.
func (k *keeper) report(err error) time.Duration {
	m := k.manager
	if err == nil {
		k.failures = 0
		m.set(k.name, func(d *domain) { d.fault, d.next = "", time.Time{} })
		return interval(k.current.Lifetime())
	}
	cause, next, wait := inOneLine(err), time.Time{}, waitingLook
	if later, ok := errors.AsType[*laterError](err); ok {
		k.failures, cause, next = 0, inOneLine(later), later.Next
	} else {
		wait = min(firstStorage<<min(k.failures, 10), lastStorage)
		k.failures++
		next = time.Now().Add(wait)
	}
	isNew := false
	m.set(k.name, func(d *domain) {
		isNew = d.fault != cause || !d.next.Equal(next)
		d.fault, d.next = cause, next
	})
	if isNew {
		m.options.Log.Warn().Str("domain", k.name).Str("authority", m.active.Load().issuer.key).Str("cause", cause).
			Time("next_try", next).Bool("served", !k.current.Empty()).Msg("no new certificate")
	}
	return min(max(time.Until(next), shortestLook), wait)
}

// interval is how often a certificate is looked at.
func interval(lifetime time.Duration) time.Duration {
	return min(max(lifetime/looksInLifetime, shortestLook), longestLook)
}

// shortestInterval is that of the certificate with the shortest lifetime.
func (m *Manager) shortestInterval() time.Duration {
	d := longestLook
	for _, state := range *m.domains.Load() {
		if c := state.certificate; c != nil {
			d = min(d, interval(c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)))
		}
	}
	return d
}

// inOneLine returns the text of an error, of which some have several lines.
func inOneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
