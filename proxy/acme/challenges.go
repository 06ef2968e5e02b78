package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// challenges are those that an authority may ask for now: the ones of this process in memory, and
// those of all instances in the storage, since any of them may be asked.
type challenges struct {
	storage certmagic.Storage

	mu     sync.Mutex
	own    map[string]rfc8555.Challenge // by key
	coming *reading                     // has not begun
	last   *reading                     // the one before
	ended  bool                         // nothing is looked for in the storage any more
	under  sync.WaitGroup
}

// reading is one look at the challenges in the storage, for all that wait for it.
type reading struct {
	done  chan struct{}
	found []rfc8555.Challenge
}

const (
	challengeFolder = "challenges"
	// readingPause goes before a look at the storage: requests for tokens that do not exist cause at
	// most 20 looks in a second, all together.
	readingPause = 50 * time.Millisecond
	// readingTime bounds a look.
	readingTime = 2 * time.Second
)

func newChallenges(storage certmagic.Storage) *challenges {
	return &challenges{storage: storage, own: map[string]rfc8555.Challenge{}}
}

func challengeKey(c rfc8555.Challenge) string {
	return challengeFolder + "/" + certmagic.StorageKeys.Safe(c.Identifier.Value) + "-" + c.Type + ".json"
}

var _ acmez.Solver = (*challenges)(nil)

// Present makes a challenge one that is answered, by every instance that shares the storage.
func (s *challenges) Present(ctx context.Context, c rfc8555.Challenge) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.own[challengeKey(c)] = c
	s.mu.Unlock()
	return s.storage.Store(ctx, challengeKey(c), text)
}

// CleanUp ends what Present began.
func (s *challenges) CleanUp(ctx context.Context, c rfc8555.Challenge) error {
	s.mu.Lock()
	delete(s.own, challengeKey(c))
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readingTime)
	defer cancel()
	return s.storage.Delete(ctx, challengeKey(c))
}

// http01 returns the answer to a token that an authority asks a host for.
func (s *challenges) http01(ctx context.Context, host, token string) (answer string, ok bool) {
	c, ok := s.find(ctx, func(c rfc8555.Challenge) bool {
		return c.Type == rfc8555.ChallengeTypeHTTP01 && c.Token == token && strings.EqualFold(c.Identifier.Value, host)
	})
	return c.KeyAuthorization, ok
}

// tlsALPN01 returns the certificate that answers a challenge for a domain (RFC 8737), or nil.
func (s *challenges) tlsALPN01(ctx context.Context, domain string) (*tls.Certificate, error) {
	c, ok := s.find(ctx, func(c rfc8555.Challenge) bool {
		return c.Type == rfc8555.ChallengeTypeTLSALPN01 && strings.EqualFold(c.Identifier.Value, domain)
	})
	if !ok {
		return nil, nil
	}
	return acmez.TLSALPN01ChallengeCert(c)
}

// find looks in memory, then in the storage.
func (s *challenges) find(ctx context.Context, is func(rfc8555.Challenge) bool) (found rfc8555.Challenge, ok bool) {
	s.mu.Lock()
	for _, c := range s.own {
		if is(c) {
			found, ok = c, true
		}
	}
	s.mu.Unlock()
	if ok {
		return found, true
	}
	r := s.read()
	select {
	case <-r.done:
	case <-ctx.Done():
		return found, false
	}
	for _, c := range r.found {
		if is(c) {
			return c, true
		}
	}
	return found, false
}

// read returns a look at the storage that has not begun yet: what is stored by now is found.
func (s *challenges) read() *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.coming != nil {
		return s.coming
	}
	r, before := &reading{done: make(chan struct{})}, s.last
	if s.ended {
		close(r.done)
		return r
	}
	s.coming, s.last = r, r
	s.under.Go(func() {
		defer close(r.done)
		if before != nil {
			<-before.done
		}
		time.Sleep(readingPause)
		s.mu.Lock()
		s.coming = nil
		s.mu.Unlock()
		r.found = s.stored()
	})
	return r
}

// stored returns the challenges in the storage. An error is none: the authority asks again.
func (s *challenges) stored() (all []rfc8555.Challenge) {
	ctx, cancel := context.WithTimeout(context.Background(), readingTime)
	defer cancel()
	keys, err := s.storage.List(ctx, challengeFolder, false)
	if err != nil {
		return nil
	}
	for _, key := range keys {
		var c rfc8555.Challenge
		if text, err := s.storage.Load(ctx, key); err == nil && json.Unmarshal(text, &c) == nil {
			all = append(all, c)
		}
	}
	return all
}

// end lets no further look at the storage begin, and returns when none is under way.
func (s *challenges) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.under.Wait()
}
