package acme

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// counting counts how often its keys are listed.
type counting struct {
	certmagic.Storage
	lists atomic.Int64
}

func (c *counting) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	c.lists.Add(1)
	return c.Storage.List(ctx, path, recursive)
}

func challengeFor(domain, token string) rfc8555.Challenge {
	return rfc8555.Challenge{
		Type: rfc8555.ChallengeTypeHTTP01, Token: token, KeyAuthorization: token + ".thumbprint",
		Identifier: rfc8555.Identifier{Type: "dns", Value: domain},
	}
}

// Clients that make up tokens cost the storage a bounded number of looks, and hold up no authority
// that asks another instance for one that was stored just before.
func TestMadeUpTokens(t *testing.T) {
	t.Parallel()
	storage := &counting{Storage: NewFolder(t.TempDir())}
	one, two := newChallenges(storage), newChallenges(storage)
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var asked atomic.Int64
	for n := range 50 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, ok := two.http01(ctx, "www.example.test", "made-up-"+strconv.Itoa(n)); ok {
					t.Error("a made-up token has an answer")
				}
				asked.Add(1)
			}
		})
	}
	for n := range 10 {
		c := challengeFor("www.example.test", "token-"+strconv.Itoa(n))
		if err := one.Present(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if answer, ok := two.http01(t.Context(), "www.example.test", c.Token); !ok || answer != c.KeyAuthorization {
			t.Errorf("token %d: %q, %v", n, answer, ok)
		}
		if err := one.CleanUp(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, ok := two.http01(t.Context(), "www.example.test", c.Token); ok {
			t.Errorf("token %d has an answer after its challenge", n)
		}
	}
	cancel()
	clients.Wait()
	two.end()
	looks, took := storage.lists.Load(), time.Since(began)
	if most := int64(took/readingPause) + 2; looks > most {
		t.Errorf("%d looks in %v, at most %d are allowed", looks, took, most)
	}
	if asked.Load() < looks {
		t.Errorf("%d clients for %d looks", asked.Load(), looks)
	}
}

// A challenge is cleaned up although its order was given up, and one that cannot be stored is none.
func TestCleanUp(t *testing.T) {
	t.Parallel()
	storage := NewFolder(t.TempDir())
	s, c := newChallenges(storage), challengeFor("www.example.test", "token")
	if err := s.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CleanUp(ended, c); err != nil {
		t.Error(err)
	}
	if _, err := storage.Load(t.Context(), challengeKey(c)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the clean-up: %v", err)
	}
}
