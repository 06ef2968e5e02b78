package shared

import (
	"context"
	"strconv"
	"testing"
	"time"

	"loadbalancer/limiter/shared/central"
	"loadbalancer/limiter/shared/member"
	"loadbalancer/limiter/shared/redistest"
)

// TestBeats has a server and the model take the same beats.
func TestBeats(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	var model central.Central
	var last, modelled member.Beat
	for n, step := range []struct {
		before func()
		id     string
	}{
		{id: "a"},
		{id: "a"},
		{id: "b"},
		{id: "a"},
		{before: func() { model.Part("b"); server.Do("ZREM", membersKey, "b") }, id: "a"},
		{before: func() { model.Lose(); server.Do("FLUSHALL") }, id: "b"},
		{before: func() { model = *model.Clone(); model.Lose(); server.Restart() }, id: "b"},
		{before: func() {
			old := last.Now - member.Lapse - time.Second // of an instance that was killed
			model.Beat(old, "c")
			server.Do("ZADD", membersKey, strconv.FormatInt(old.Microseconds(), 10), "c")
		}, id: "b"},
		{id: "c"},
	} {
		if step.before != nil {
			step.before()
		}
		client := newClient(t, server.URL())
		got, _, err := heard(client.Do(context.Background(), beat(client.B(), step.id, 0)))
		if err != nil {
			t.Fatal(err)
		}
		want := model.Beat(got.Now, step.id)
		if got.Instances != want.Instances || got.Before != want.Before ||
			(got.Epoch == last.Epoch) != (want.Epoch == modelled.Epoch) || (got.Process == last.Process) != (n > 0 && want.Process == modelled.Process) {
			t.Errorf("beat %d: the server says %+v, the model %+v", n, got, want)
		}
		if age := time.Since(time.UnixMicro(got.Now.Microseconds())); age.Abs() > deadline {
			t.Errorf("beat %d: the server's clock is behind by %s", n, age)
		}
		last, modelled = got, want
	}
}
