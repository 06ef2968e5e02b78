package acme

import (
	"context"
	"crypto/tls"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Options are what a Manager is made of.
type Options struct {
	Storage certmagic.Storage
	Log     zerolog.Logger
	// Ready is closed when challenges can be answered. No order is made before. nil: they can.
	Ready <-chan struct{}

	client     *http.Client                                            // nil: newClient
	pauseAfter func(failures int, refused, limited bool) time.Duration // nil: pauseAfter
	pace       *rate.Limiter                                           // of orders, over all reloads
}

// Offers are the challenges that can be answered where an authority asks, by what is listened on.
type Offers struct {
	HTTP01    bool
	TLSALPN01 bool
}

// Manager has a certificate for each domain of a config: it takes those that are in the storage,
// orders the others, and renews them in time. It is safe for concurrent use.
type Manager struct {
	options    Options
	log        *zap.Logger // of certmagic
	challenges *challenges
	changed    chan struct{}
	wanted     atomic.Pointer[active] // by Apply
	active     atomic.Pointer[active] // that keepers go by, of Run

	mu      sync.Mutex // of what follows, for those that write
	domains atomic.Pointer[map[string]domain]

	// The fields below belong to Run.
	cache   *certmagic.Cache
	keepers map[string]*keeper
}

// askedEvery is how often a client that asks for a domain in vain is logged.
const askedEvery = 10 * time.Second

// active is a config with what was made from it.
type active struct {
	names  []string
	offers Offers
	config Config
	issuer *issuer
	magic  *certmagic.Config // set by Run
}

// domain is what is known of one.
type domain struct {
	certificate *tls.Certificate // nil: there is none yet
	fault       string           // why there is none, or why it is not renewed; "": nothing is wrong
	next        time.Time        // when that is tried again
	looked      bool             // whether the storage has it
	asked       *rate.Sometimes  // lines about clients that ask for it in vain
}

// NewManager returns a manager that does nothing before Run.
func NewManager(c Config, offers Offers, o Options) *Manager {
	if o.client == nil {
		o.client = newClient()
	}
	if o.pauseAfter == nil {
		o.pauseAfter = pauseAfter
	}
	o.pace = rate.NewLimiter(rate.Every(time.Second), ordersAtOnce)
	o.Log = o.Log.With().Str("component", "acme").Logger()
	m := &Manager{
		options: o, log: newBridge(o.Log), challenges: newChallenges(o.Storage),
		changed: make(chan struct{}, 1), keepers: map[string]*keeper{},
	}
	m.Apply(c, offers)
	return m
}

// Apply replaces the config, but for the storage. A certificate of another authority is served until
// the new authority has issued one. An order under way goes on.
func (m *Manager) Apply(c Config, offers Offers) {
	a := &active{config: c, offers: offers}
	for _, name := range c.Domains {
		a.names = append(a.names, strings.ToLower(name))
	}
	solvers := map[string]acmez.Solver{}
	if offers.HTTP01 {
		solvers[rfc8555.ChallengeTypeHTTP01] = m.challenges
	}
	if offers.TLSALPN01 {
		solvers[rfc8555.ChallengeTypeTLSALPN01] = m.challenges
	}
	a.issuer = newIssuer(c, m.options, solvers, m.log)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := map[string]domain{}
	if before := m.domains.Load(); before != nil {
		now = maps.Clone(*before)
		maps.DeleteFunc(now, func(name string, _ domain) bool { return !slices.Contains(a.names, name) })
	}
	for _, name := range a.names {
		if _, known := now[name]; !known {
			now[name] = domain{fault: "it is being ordered", asked: &rate.Sometimes{Interval: askedEvery}}
		}
	}
	m.domains.Store(&now)
	m.wanted.Store(a)
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Run gets and renews certificates until ctx ends. When it returns, nothing is left.
func (m *Manager) Run(ctx context.Context) {
	select {
	case <-m.changed: // by NewManager
	default:
	}
	for {
		m.follow(ctx)
		select {
		case <-m.changed:
		case <-ctx.Done():
			for _, k := range m.keepers {
				<-k.ended
			}
			if m.cache != nil {
				m.cache.Stop()
			}
			m.challenges.end()
			m.options.client.CloseIdleConnections()
			return
		}
	}
}

// Load waits until Run, which must have begun, has looked for each domain's certificate in the
// storage, or until ctx ends.
func (m *Manager) Load(ctx context.Context) {
	for {
		loading := false
		for _, d := range *m.domains.Load() {
			loading = loading || !d.looked
		}
		if !loading || pause(ctx, loadPause) != nil {
			return
		}
	}
}

// loadPause is how often Load looks.
const loadPause = 2 * time.Millisecond

// follow has a keeper for each domain, and wakes those that there are.
func (m *Manager) follow(ctx context.Context) {
	a := m.wanted.Load()
	if m.cache == nil {
		if len(a.names) == 0 {
			return
		}
		m.cache = certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: m.configFor, Logger: m.log})
	}
	if a != m.active.Load() {
		a.magic = certmagic.New(m.cache, certmagic.Config{Issuers: []certmagic.Issuer{a.issuer}, Storage: m.options.Storage, Logger: m.log})
		m.active.Store(a)
	}
	for name, k := range m.keepers {
		if !slices.Contains(a.names, name) {
			k.end()
			<-k.ended
			m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
			delete(m.keepers, name)
		}
	}
	for _, name := range a.names {
		if k := m.keepers[name]; k != nil {
			k.wake()
			continue
		}
		m.keepers[name] = startKeeper(ctx, m, name)
	}
}

// configFor returns what certmagic's maintenance goes by.
func (m *Manager) configFor(certmagic.Certificate) (*certmagic.Config, error) {
	return m.active.Load().magic, nil
}

// set publishes what is known of a domain, unless the config no longer has it.
func (m *Manager) set(name string, change func(d *domain)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := maps.Clone(*m.domains.Load())
	d, ok := now[name]
	if !ok {
		return
	}
	change(&d)
	now[name] = d
	m.domains.Store(&now)
}

// Certificate returns the certificate for the name that a client asks for, which is in lower case, or
// the one that answers an authority's challenge. It returns nil if the name is none of the config's
// domains, or if that has no certificate yet, which it logs.
func (m *Manager) Certificate(name string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello != nil && IsChallenge(hello) {
		return m.tlsALPN01(hello.Context(), name)
	}
	d, ok := (*m.domains.Load())[name]
	if ok && d.certificate == nil {
		d.asked.Do(func() {
			m.options.Log.Warn().Str("domain", name).Str("cause", d.fault).
				Msg("a client asks for a domain that has no certificate yet: without one of one's own, its handshake fails")
		})
	}
	return d.certificate, nil
}

// has reports whether the config has the domain.
func (m *Manager) has(name string) bool {
	_, ok := (*m.domains.Load())[name]
	return ok
}

// HTTP01 returns the answer for an authority that asks a host for a token, at the path
// /.well-known/acme-challenge/TOKEN. ok is false if the token is not known. The host is in lower
// case, without a port.
func (m *Manager) HTTP01(host, token string) (answer string, ok bool) {
	if !m.wanted.Load().offers.HTTP01 || !m.has(host) || token == "" || len(token) > maxToken {
		return "", false
	}
	return m.challenges.http01(context.Background(), host, token)
}

// maxToken is more than any authority's token has, in bytes.
const maxToken = 256

// IsChallenge reports whether a handshake is an authority's challenge (RFC 8737): no request follows
// it.
func IsChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ALPN
}

// ALPN is the protocol of such a handshake.
const ALPN = acmez.ACMETLS1Protocol

// tlsALPN01 returns the certificate that answers a challenge, or nil if it is not known.
func (m *Manager) tlsALPN01(ctx context.Context, name string) (*tls.Certificate, error) {
	if !m.wanted.Load().offers.TLSALPN01 || !m.has(name) {
		return nil, nil
	}
	return m.challenges.tlsALPN01(ctx, name)
}

// Expiries returns for each domain that has a certificate when it expires.
func (m *Manager) Expiries() map[string]time.Time {
	all := map[string]time.Time{}
	for name, d := range *m.domains.Load() {
		if d.certificate != nil {
			all[name] = d.certificate.Leaf.NotAfter
		}
	}
	return all
}

// Faults returns a line for each domain that has no certificate, or one that is not renewed.
func (m *Manager) Faults() (all []string) {
	now := *m.domains.Load()
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if d := now[name]; d.fault != "" {
			all = append(all, d.sentence(name))
		}
	}
	return all
}

func (d domain) sentence(name string) string {
	s := "the certificate for " + name + " is missing: "
	if d.certificate != nil {
		s = "the certificate for " + name + ", which expires at " + d.certificate.Leaf.NotAfter.UTC().Format(time.RFC3339) + ", is not renewed: "
	}
	s += d.fault
	if !d.next.IsZero() {
		s += "; next try at " + d.next.UTC().Format(time.RFC3339)
	}
	return s
}
