package listen

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/acme"
)

// Issuer has certificates that are in no file of the config. It is safe for concurrent use.
type Issuer interface {
	// Certificate returns the certificate for the name that a client asks for, which is in lower
	// case and may be empty, or in a handshake that acme.IsChallenge the one that answers it. It
	// returns nil if it has none.
	Certificate(name string, hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// Expiries returns when the certificates at hand expire, by the names that they are for.
	Expiries() map[string]time.Time
	// Faults returns what is wrong, a line each.
	Faults() []string
}

// TLS has what handshakes with clients go by, for as long as the process lives: the certificates of
// the config, which it reads again when their files change, and the keys of session tickets. It is
// safe for concurrent use. Make one with NewTLS.
type TLS struct {
	log    zerolog.Logger
	issuer Issuer // nil: there is none
	server *tls.Config
	// challenge answers an authority that checks a domain. It asks for no client certificate: no
	// request can follow such a handshake.
	challenge *tls.Config
	now       atomic.Pointer[current]

	mu      sync.Mutex
	config  TLSConfig
	http2   bool // is offered
	pairs   []*pair
	clients authority
}

// current is a snapshot of what handshakes go by.
type current struct {
	*keyring
	config   *tls.Config
	clients  *x509.CertPool // nil: they show no certificate
	expiries map[string]time.Time
	faults   []string // a line each, sorted
}

// pair is a certificate of the config.
type pair struct {
	files CertificateConfig
	used  *tls.Certificate
	seen  [sha256.Size]byte // of the files as they were last; zero: they could not be read
	fault *pairFault        // of that; nil: it is what is used
	told  bool              // the fault is logged
	stage string            // of the life of what is used, as it was logged last
}

// lookEvery is how often the files of certificates are compared with what they were.
const lookEvery = 500 * time.Millisecond

// NewTLS returns a TLS without a certificate. issuer may be nil.
func NewTLS(issuer Issuer, log zerolog.Logger) *TLS {
	t := &TLS{log: log, issuer: issuer}
	t.server = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if acme.IsChallenge(hello) && t.issuer != nil {
				return t.challenge, nil
			}
			return t.now.Load().config, nil
		},
		// Never used, since GetConfigForClient returns another one. Without any, tls refuses to serve.
		GetCertificate: t.certificate,
	}
	t.challenge = &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPN}, SessionTicketsDisabled: true,
		GetCertificate: t.challengeCertificate,
	}
	t.publish()
	return t
}

// challengeCertificate answers an authority. Looking for the challenge may take seconds, in which
// other handshakes go on.
func (t *TLS) challengeCertificate(hello *tls.ClientHelloInfo) (c *tls.Certificate, err error) {
	find := func() { c, err = t.issuer.Certificate(strings.ToLower(hello.ServerName), hello) }
	if bounded, ok := hello.Conn.(interface{ Outside(func()) }); ok {
		bounded.Outside(find)
	} else {
		find()
	}
	if c == nil && err == nil {
		err = errNoChallenge
	}
	return c, err
}

// ServerConfig returns what connections are served by. It is always the same one, so that sessions
// can be resumed after a reload: Go makes keys of session tickets for it, and replaces them every
// day. What Apply changes counts for the next handshake.
func (t *TLS) ServerConfig() *tls.Config { return t.server }

// Apply makes handshakes go by another config from now on; http2 says whether HTTP/2 is offered. If
// a certificate cannot be used, it returns why and changes nothing.
func (t *TLS) Apply(c TLSConfig, http2 bool) error {
	takeUp, err := t.Prepare(c, http2)
	if err == nil {
		takeUp()
	}
	return err
}

// Prepare is the part of Apply that can fail: it reads the files of another config, and returns the
// function that puts it in force.
func (t *TLS) Prepare(c TLSConfig, http2 bool) (takeUp func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var pairs []*pair
	var faults []error
	for _, files := range c.Certificates {
		p := &pair{files: files}
		if at := slices.IndexFunc(t.pairs, func(old *pair) bool { return old.files == files }); at >= 0 {
			*p = *t.pairs[at]
		}
		p.look()
		if p.fault != nil {
			faults = append(faults, fmt.Errorf("server.tls.certificates: %w", p.fault))
		}
		pairs = append(pairs, p)
	}
	clients := authority{file: c.ClientCA}
	if t.clients.file == c.ClientCA {
		clients = t.clients
	}
	if clients.look(); clients.fault != nil {
		faults = append(faults, fmt.Errorf("server.tls.client_ca: %s: %w", clients.file, clients.fault))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.config, t.http2, t.pairs, t.clients = c, http2, pairs, clients
		t.publish()
	}, nil
}

// Run takes up files that have changed, within a second, until ctx ends.
func (t *TLS) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.Look()
		case <-ctx.Done():
			return
		}
	}
}

// Look takes up the files that have changed, as Run does.
func (t *TLS) Look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := false
	for _, p := range t.pairs {
		was := p.fault
		if p.look() {
			changed = true
			if p.fault == nil {
				t.log.Info().Str("certificate", p.files.Certificate).Time("expires", p.used.Leaf.NotAfter).Msg("a certificate has changed and is used from now on")
			}
			continue
		}
		if p.fault != nil && !p.told { // the files are not just being written
			p.told = true
			t.log.Error().Str("certificate", p.files.Certificate).Str("fault", p.fault.Error()).Msg("a certificate cannot be used, and the one before stays in use")
		}
		changed = changed || was != p.fault
	}
	if t.lookAtClients() || changed || t.aged() {
		t.publish()
	}
}

// lookAtClients takes up the authorities of clients, if their file has changed.
func (t *TLS) lookAtClients() (changed bool) {
	a := &t.clients
	changed = a.look()
	switch {
	case changed && a.fault == nil:
		t.log.Info().Str("client_ca", a.file).Msg("the authorities of clients' certificates have changed and are used from now on")
	case !changed && a.fault != nil && !a.told: // the file is not just being written
		a.told = true
		t.log.Error().Str("client_ca", a.file).Str("fault", a.fault.Error()).Msg("the authorities of clients' certificates cannot be used, and those before stay in use")
	}
	return changed
}

// look reads the files, and reports whether they have changed since the last time.
func (p *pair) look() (changed bool) {
	text, fault := readText(p.files)
	var sum [sha256.Size]byte
	if fault == nil {
		sum = text.sum()
	}
	if sum == p.seen && (p.used != nil || p.fault != nil) && (fault == nil || p.fault != nil && p.fault.Error() == fault.Error()) {
		return false
	}
	p.seen, p.fault, p.told = sum, fault, false
	if fault != nil {
		return true
	}
	c, fault := text.parse(p.files)
	if p.fault = fault; fault == nil {
		p.used = c
	}
	return true
}

// aged logs the certificates that have come near their end since the last time, and reports whether
// there are any.
func (t *TLS) aged() (any bool) {
	for _, p := range t.pairs {
		stage := stageOf(p.used, time.Now())
		if stage == p.stage {
			continue
		}
		if p.stage, any = stage, true; stage != "" {
			t.log.Warn().Str("certificate", p.files.Certificate).Time("expires", p.used.Leaf.NotAfter).Msg("a certificate " + stage)
		}
	}
	return any
}

// stageOf says what is wrong with the life of a certificate, or "".
func stageOf(c *tls.Certificate, now time.Time) string {
	switch left := c.Leaf.NotAfter.Sub(now); {
	case left <= 0:
		return "has expired"
	case left < soon(c.Leaf):
		return "expires soon"
	case now.Before(c.Leaf.NotBefore):
		return "is not valid yet"
	}
	return ""
}

// publish has handshakes go by the config and the certificates at hand.
func (t *TLS) publish() {
	var all []*tls.Certificate
	var faults []string
	for _, p := range t.pairs {
		all = append(all, p.used)
		if p.fault != nil {
			faults = append(faults, "the certificate "+p.files.Certificate+" cannot be used, and the one before stays in use: "+p.fault.Error())
		}
		if stage := stageOf(p.used, time.Now()); stage != "" {
			faults = append(faults, "the certificate "+p.files.Certificate+" "+stage+": "+p.used.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if a := &t.clients; a.fault != nil {
		faults = append(faults, "the authorities of "+a.file+" cannot be used, and those before stay in use: "+a.fault.Error())
	}
	k := newKeyring(all)
	t.now.Store(&current{keyring: k, config: t.serverConfig(), clients: t.clients.used, expiries: k.expiries(), faults: faults})
}

// serverConfig returns the part of the config that each handshake goes by.
func (t *TLS) serverConfig() *tls.Config {
	c := &tls.Config{
		MinVersion:     max(uint16(t.config.MinVersion), tls.VersionTLS12),
		GetCertificate: t.certificate,
		// curl --http1.0 offers http/1.0 alone.
		NextProtos: []string{"http/1.1", "http/1.0"},
		// A small first record would show the first bytes of a response earlier over a slow line, at
		// the cost of a system call for each of the records.
		DynamicRecordSizingDisabled: true,
	}
	if t.http2 {
		c.NextProtos = append([]string{"h2"}, c.NextProtos...)
	}
	if t.clients.used != nil {
		// Go verifies by them when a session is resumed, too.
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, t.clients.used
	}
	return c
}

// Authorities returns those that sign the certificates which clients have to show now, or nil if they
// show none. It is the same pool until the authorities change.
func (t *TLS) Authorities() *x509.CertPool { return t.now.Load().clients }

var errNoChallenge = errors.New("there is no such challenge of ACME")

// certificate chooses the certificate for a client: of the name that it asks for, else of a wildcard
// for it, else the issuer's, else the first of the config.
func (t *TLS) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	now := t.now.Load()
	if named := now.find(name); len(named) > 0 {
		return suited(named, hello), nil
	}
	if t.issuer != nil {
		if c, err := t.issuer.Certificate(name, hello); c != nil || err != nil {
			return c, err
		}
	}
	if len(now.first) == 0 {
		return nil, nil // tls tells the client: unrecognized name
	}
	return suited(now.first, hello), nil
}

// Expiries returns for each name that there is a certificate for when the first of them expires.
func (t *TLS) Expiries() map[string]time.Time {
	all := map[string]time.Time{}
	for name, at := range t.now.Load().expiries {
		all[name] = at
	}
	if t.issuer != nil {
		for name, at := range t.issuer.Expiries() {
			if known, ok := all[name]; !ok || at.Before(known) {
				all[name] = at
			}
		}
	}
	return all
}

// Faults returns what is wrong with certificates, a line each.
func (t *TLS) Faults() []string {
	faults := slices.Clone(t.now.Load().faults)
	if t.issuer != nil {
		faults = append(faults, t.issuer.Faults()...)
	}
	return faults
}
