package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// accounts registers with an authority once, for all instances that share the storage.
type accounts struct {
	storage certmagic.Storage
	client  *acmez.Client
	email   string
	name    string // in the storage: of the authority and the email
}

// kept is an account in the storage.
type kept struct {
	Account rfc8555.Account `json:"account"`
	Key     string          `json:"key"` // PEM
}

func (a *accounts) key() string { return path.Join("accounts", a.name+".json") }

// get returns the account, which is registered if there is none.
func (a *accounts) get(ctx context.Context) (rfc8555.Account, error) {
	account, err := a.load(ctx)
	if !errors.Is(err, fs.ErrNotExist) {
		return account, err
	}
	lock := "account_" + a.name
	if err := a.storage.Lock(ctx, lock); err != nil {
		return account, err
	}
	defer func() { _ = a.storage.Unlock(context.WithoutCancel(ctx), lock) }()
	account, err = a.load(ctx) // by another instance, meanwhile
	if !errors.Is(err, fs.ErrNotExist) {
		return account, err
	}
	return a.register(ctx)
}

func (a *accounts) load(ctx context.Context) (rfc8555.Account, error) {
	text, err := a.storage.Load(ctx, a.key())
	if err != nil {
		return rfc8555.Account{}, err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return rfc8555.Account{}, fmt.Errorf("read the account %s: %w", a.key(), err)
	}
	k.Account.PrivateKey, err = certmagic.PEMDecodePrivateKey([]byte(k.Key))
	if err != nil {
		return rfc8555.Account{}, fmt.Errorf("read the key of the account %s: %w", a.key(), err)
	}
	return k.Account, nil
}

// register makes an account, which agrees to the authority's terms.
func (a *accounts) register(ctx context.Context) (account rfc8555.Account, err error) {
	key, err := certmagic.StandardKeyGenerator{KeyType: certmagic.P256}.GenerateKey()
	if err != nil {
		return account, err
	}
	text, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return account, err
	}
	account.TermsOfServiceAgreed = true
	account.PrivateKey = key.(crypto.Signer)
	if a.email != "" {
		account.Contact = []string{"mailto:" + a.email}
	}
	if account, err = a.client.NewAccount(ctx, account); err != nil {
		return account, fmt.Errorf("register an account: %w", err)
	}
	record, err := json.Marshal(kept{account, string(text)})
	if err == nil {
		err = a.storage.Store(ctx, a.key(), record)
	}
	return account, err
}

// forget forgets an account that the authority no longer knows.
func (a *accounts) forget(ctx context.Context) error { return a.storage.Delete(ctx, a.key()) }
