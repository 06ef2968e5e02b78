// Package shared keeps the limits of several instances in a Redis or Valkey: it brings what a
// limiter.Share has to tell to the server, and the answers back.
package shared

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/member"
)

// Teller brings tellings to a server. Create it with Open.
type Teller struct {
	share  *limiter.Share
	option rueidis.ClientOption
	id     string // of this process among the instances
	news   news

	remember func() // that there is another number of instances

	lease   member.Lease
	trouble atomic.Pointer[trouble] // the last one
	running sync.WaitGroup
}

// trouble is an error, and when it occurred.
type trouble struct {
	err error
	at  time.Time
}

// Open returns a teller for the server at a URL that CheckURL accepts. It does not connect; Run does.
// It calls remember, on a goroutine, when the share has another number of instances than before.
func Open(url string, share *limiter.Share, remember func(), log zerolog.Logger) (*Teller, error) {
	option, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("limiter.share: allowed is %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var unique [6]byte
	_, _ = rand.Read(unique[:]) // never fails
	return &Teller{
		share:    share,
		option:   option,
		id:       fmt.Sprintf("%s:%d:%s", host, os.Getpid(), hex.EncodeToString(unique[:])),
		remember: remember,
		news:     news{log: log.With().Str("redis", place(&option)).Logger(), password: option.Password},
	}, nil
}

// retryEvery is the time between two tries to reach a server that is away.
const retryEvery = time.Second

// Run tells until ctx has ended, and then what is left, for which it tries once more to reach a server
// that is away. With one that does not answer, it returns two seconds and twice the wait of the share
// later at the latest, or else twice the dial_timeout of the URL, or as often as that has sentinels. It
// returns no error.
func (t *Teller) Run(ctx context.Context) error {
	defer t.running.Wait()
	defer t.share.Leave()
	for {
		client, err := t.connect()
		if err == nil {
			if err = t.serve(ctx, client); err == nil {
				t.end(client)
			}
			t.running.Go(client.Close) // which takes a second where the server is frozen
		}
		t.share.Leave()
		if ctx.Err() != nil {
			return nil
		}
		t.news.away(err)
		t.share.Collect(nil) // which tells nothing, as the share is away, and frees memory
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

// connect returns a client of a server that has taken a beat in time.
func (t *Teller) connect() (rueidis.Client, error) {
	client, err := rueidis.NewClient(t.option)
	if err != nil {
		return nil, err
	}
	for _, node := range client.Nodes() { // of a cluster, connects to all: a request has no time for that
		ctx, cancel := context.WithTimeout(context.Background(), t.patience())
		_ = node.Do(ctx, node.B().Ping().Build()).Error()
		cancel()
	}
	s := t.beat(client)
	if s.err != nil {
		t.running.Go(client.Close)
		return nil, s.err
	}
	t.hear(s)
	return client, nil
}

// sign is a beat that was sent.
type sign struct {
	heard          member.Beat
	resets         []string // the clients that were reset since the last one
	sent, received time.Time
	err            error // also that it took too long
}

// beat tells that this instance lives.
func (t *Teller) beat(client rueidis.Client) (s sign) {
	ctx, cancel := context.WithTimeout(context.Background(), t.patience())
	defer cancel()
	s.sent = time.Now()
	s.heard, s.resets, s.err = heard(client.Do(ctx, beat(client.B(), t.id, t.lease.Last())))
	s.received = time.Now()
	if wait := t.share.Wait(); s.err == nil && s.received.Sub(s.sent) > wait+behind() {
		s.err = errSlow{wait}
	}
	return s
}

// behind returns by how much answers are late because this process is short of processors: as for a
// request that waits (limiter), they take eight steps from goroutine to goroutine. This measures one.
func behind() time.Duration {
	began := time.Now()
	runtime.Gosched()
	return 8 * time.Since(began)
}

// patience is for how long an answer is waited for. Requests that wait for it give up sooner.
func (t *Teller) patience() time.Duration { return max(250*time.Millisecond, 2*t.share.Wait()) }

// hear takes what was heard on a beat.
func (t *Teller) hear(s sign) {
	fleet, lost := t.lease.Renew(s.heard, s.sent, s.received)
	if lost {
		t.share.Restore()
	}
	before := t.share.Instances()
	t.share.Return(fleet)
	if fleet.Instances != before {
		t.running.Go(t.remember)
	}
	if len(s.resets) > 0 {
		t.share.Ask(s.resets)
	}
	t.news.there(fleet.Instances, lost)
}
