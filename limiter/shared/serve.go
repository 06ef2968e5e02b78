package shared

import (
	"context"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/member"
)

const (
	// together is how long tellings wait for others to be told with, unless a request waits.
	together = time.Millisecond
	// lookEvery is the time between two looks for what is to be told by time.
	lookEvery = 50 * time.Millisecond
	// maxBatches is how many batches are under way at once, so that a request waits for no round trip
	// but its own.
	maxBatches = 4
	// maxTogether is how many tellings are sent at once: what the server does in half a millisecond.
	// Requests that wait, of all instances, wait for one such batch of each.
	maxTogether = 64
	// beatAgain is the time after which a beat is repeated that was not taken in time, and
	// maxSilent how many in a row say that the server is away.
	beatAgain = 100 * time.Millisecond
	maxSilent = 3
)

// serve tells until the server is away, and returns why, or until ctx has ended.
func (t *Teller) serve(ctx context.Context, client rueidis.Client) error {
	look, soon, next := time.NewTicker(lookEvery), time.NewTimer(together), time.NewTimer(member.Every)
	defer look.Stop()
	defer soon.Stop()
	defer next.Stop()
	batches, beats, due := make(chan struct{}, maxBatches), make(chan sign, 1), t.share.Due()
	for silent, wants := 0, true; ; {
		var free chan<- struct{}
		if wants {
			free = batches
		}
		select {
		case <-ctx.Done():
			drain(batches)
			return nil
		case <-t.share.Asks():
			wants = true
		case <-due:
			soon.Reset(together)
			due = nil // more of it does not put that off
		case <-soon.C:
			wants, due = true, t.share.Due()
		case <-look.C:
			wants = true
		case free <- struct{}{}:
			wants = false
			t.collect(client, batches)
		case <-next.C:
			t.running.Go(func() { beats <- t.beat(client) })
		case s := <-beats:
			if s.err == nil {
				silent = 0
				t.hear(s)
				next.Reset(member.Every)
				break
			}
			t.trouble.Store(&trouble{s.err, time.Now()})
			if silent++; silent == maxSilent {
				t.share.Leave()
			}
			next.Reset(beatAgain)
		}
		if t.share.IsAway() {
			drain(batches)
			return t.why()
		}
	}
}

// drain waits for the batches under way.
func drain(batches chan<- struct{}) {
	for range maxBatches {
		batches <- struct{}{}
	}
}

// why returns why the share counts as away.
func (t *Teller) why() error {
	if last := t.trouble.Load(); last != nil && time.Since(last.at) < time.Second {
		return last.err
	}
	return errSlow{t.share.Wait()}
}

// collect sends what there is to tell, on its own, and then frees the place that was taken in batches.
func (t *Teller) collect(client rueidis.Client, batches <-chan struct{}) {
	all := t.share.Collect(nil)
	if len(all) == 0 {
		<-batches
		return
	}
	t.running.Go(func() {
		defer func() { <-batches }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		t.tellAll(ctx, client, all, true)
	})
}

// tellAll tells, those first that requests wait for. After a loss of data that may be all clients in
// debt, of all instances at once: with pause, it leaves the server as much time after each batch as
// that took.
func (t *Teller) tellAll(ctx context.Context, client rueidis.Client, all []*limiter.Telling, pause bool) {
	slices.SortStableFunc(all, func(a, b *limiter.Telling) int { return int(min(1, b.Asked) - min(1, a.Asked)) })
	for some := range slices.Chunk(all, maxTogether) {
		if t.share.IsAway() {
			t.failAll(some)
			continue
		}
		began := time.Now()
		t.tell(ctx, client, some, false)
		if pause && len(all) > maxTogether {
			time.Sleep(min(time.Since(began), t.share.Wait()))
		}
	}
}

// tell sends some tellings at once, and settles each. If the server does not know the script, it is
// sent with them.
func (t *Teller) tell(ctx context.Context, client rueidis.Client, some []*limiter.Telling, whole bool) {
	ctx, cancel := context.WithTimeout(ctx, t.patience())
	defer cancel()
	size := len(some)
	if client.Mode() == rueidis.ClientModeCluster { // in which a script has one key
		size = 1
	}
	var commands []rueidis.Completed
	for few := range slices.Chunk(some, size) {
		commands = append(commands, tell(client.B(), few, whole))
	}
	var unknown []*limiter.Telling
	var reset []rueidis.Completed // what says so to other instances, which have no reason to ask
	sent := time.Now()
	for i, reply := range client.DoMulti(ctx, commands...) {
		few := some[i*size : min((i+1)*size, len(some))]
		values, err := reply.AsIntSlice()
		heard, err := answers(len(few), values, err)
		switch refused, isRefused := rueidis.IsRedisErr(err); {
		case err == nil:
			for j, told := range few {
				t.share.Settle(told, sent, heard[j])
				if told.Reset {
					reset = append(reset, announce(client.B(), told.Client))
				}
			}
		case isRefused && refused.IsNoScript() && !whole:
			unknown = append(unknown, few...)
		default:
			t.trouble.Store(&trouble{err, time.Now()})
			t.failAll(few)
		}
	}
	client.DoMulti(ctx, reset...)
	if len(unknown) > 0 {
		t.tell(ctx, client, unknown, true)
	}
}

func (t *Teller) failAll(some []*limiter.Telling) {
	for _, told := range some {
		t.share.Fail(told)
	}
}

// end tells what is left and that this instance goes, within a second.
func (t *Teller) end(client rueidis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	t.share.Flush()
	t.tellAll(ctx, client, t.share.Collect(nil), false)
	_ = client.Do(ctx, client.B().Zrem().Key(membersKey).Member(t.id).Build()).Error()
}
