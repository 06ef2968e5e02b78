package acme

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"golang.org/x/time/rate"
)

// issuer orders certificates from one authority, by one account.
type issuer struct {
	key      string // of the authority in the storage
	client   *acmez.Client
	storage  certmagic.Storage
	account  accounts
	attempts attempts
	pace     *rate.Limiter // orders
}

var (
	_ certmagic.Issuer            = (*issuer)(nil)
	_ certmagic.RenewalInfoGetter = (*issuer)(nil)
)

// orderTime bounds the wait for the authority in an order, at each of its steps.
const orderTime = 90 * time.Second

// ordersAtOnce is how many orders are begun at once; after that, one in a second is.
const ordersAtOnce = 10

// newIssuer returns an issuer that solves its challenges by the solvers, by type.
func newIssuer(c Config, o Options, solvers map[string]acmez.Solver, log *zap.Logger) *issuer {
	key := authorityKey(c.directory())
	client := &acmez.Client{
		Client: &rfc8555.Client{
			Directory: c.directory(), HTTPClient: o.client, UserAgent: "lb", PollTimeout: orderTime,
			Logger: slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("acme_client"), zapslog.AddStacktraceAt(slog.Level(127)))),
		},
		ChallengeSolvers: solvers,
	}
	name := key
	if c.Email != "" {
		name += "-" + certmagic.StorageKeys.Safe(c.Email)
	}
	return &issuer{
		key: key, client: client, storage: o.Storage,
		account:  accounts{storage: o.Storage, client: client, email: c.Email, name: name},
		attempts: attempts{storage: o.Storage, authority: key, after: o.pauseAfter},
		pace:     o.pace,
	}
}

// authorityKey is the part of the keys in the storage that stands for an authority: those of
// certmagic, so that its folder can be taken over.
func authorityKey(directory string) string {
	u, err := url.Parse(directory)
	if err != nil {
		return certmagic.StorageKeys.Safe(directory)
	}
	key := u.Host
	if path := strings.Trim(strings.ReplaceAll(u.Path, "/", "-"), "-"); path != "" {
		key += "-" + path
	}
	return certmagic.StorageKeys.Safe(key)
}

// IssuerKey names the authority in the storage.
func (i *issuer) IssuerKey() string { return i.key }

// Issue orders the certificate of a request for one domain, unless the last order for it failed too
// recently. certmagic holds a lock of the domain meanwhile. What is known of the order is forgotten
// once the certificate has come back from the storage.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	domain := csr.DNSNames[0]
	if err := i.attempts.due(ctx, domain, true); err != nil {
		return nil, err
	}
	if err := i.pace.Wait(ctx); err != nil {
		return nil, err
	}
	before, err := i.attempts.begin(ctx, domain, time.Now())
	if err != nil {
		return nil, err
	}
	chain, err := i.order(ctx, csr, domain, before.Failures)
	if problem, ok := errors.AsType[rfc8555.Problem](err); ok && problem.Type == rfc8555.ProblemTypeAccountDoesNotExist {
		if err = i.account.forget(ctx); err == nil {
			chain, err = i.order(ctx, csr, domain, before.Failures)
		}
	}
	switch {
	case err == nil:
		return &certmagic.IssuedCertificate{Certificate: chain.ChainPEM, Metadata: chain}, nil
	case ctx.Err() != nil:
		i.attempts.undo(ctx, domain, before)
		return nil, err // the authority is not to blame
	}
	return nil, i.attempts.failed(ctx, domain, before, err, time.Now())
}

// order makes one order and returns the first chain that the authority offers, its default. Every
// other try does not say what it replaces, which the authority may object to.
func (i *issuer) order(ctx context.Context, csr *x509.CertificateRequest, domain string, failures int) (chain rfc8555.Certificate, err error) {
	account, err := i.account.get(ctx)
	if err != nil {
		return chain, err
	}
	p, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return chain, err
	}
	if failures%2 == 0 {
		p.Replaces = i.current(ctx, domain)
	}
	chains, err := i.client.ObtainCertificate(ctx, p)
	if err != nil {
		return chain, err
	}
	if len(chains) == 0 {
		return chain, fmt.Errorf("the authority has offered no certificate for %s", domain)
	}
	return chains[0], nil
}

// current returns the certificate that an order replaces (RFC 9773), which limits of an authority
// exempt, or nil.
func (i *issuer) current(ctx context.Context, domain string) *x509.Certificate {
	text, err := i.storage.Load(ctx, certmagic.StorageKeys.SiteCert(i.key, domain))
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(c.AuthorityKeyId) == 0 {
		return nil
	}
	return c
}

// GetRenewalInfo asks the authority when a certificate is to be renewed (RFC 9773).
func (i *issuer) GetRenewalInfo(ctx context.Context, c certmagic.Certificate) (rfc8555.RenewalInfo, error) {
	return i.client.GetRenewalInfo(ctx, c.Leaf)
}

// newClient returns the client of all authorities. What it trusts is the system's, or what
// SSL_CERT_FILE and SSL_CERT_DIR name.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSHandshakeTimeout = 10 * time.Second
	transport.ResponseHeaderTimeout = 30 * time.Second
	return &http.Client{Transport: transport, Timeout: time.Minute}
}
