package member

import (
	"cmp"
	"testing"
	"time"

	"loadbalancer/limiter"
)

// TestLease gives one beat after another. Times are in milliseconds: those of the server's
// clock are 1,000,000 ahead.
func TestLease(t *testing.T) {
	const ahead = 1_000_000
	type beat struct {
		instances      int64
		wantInstances  int64 // 0: as many
		sent, took     int   // of this instance's clock
		now, before    int   // of the server's; 0: as the other clock says, and as the beat before; -1: none
		epoch, process string
		wantFrom       int // when credit begins; it ends 2 s after sent
		wantLost       bool
	}
	for name, beats := range map[string][]beat{
		"first": {
			{sent: 0, took: 2, before: -1, wantFrom: 3002},
			{sent: 1000, took: 5, wantFrom: 3002},
			{sent: 2000, took: 1, wantFrom: 3002},
		},
		"a new process that has the place of an old one": {
			{sent: 0, before: 999_000, wantFrom: 3000},
		},
		"away for a moment": {
			{sent: 0, before: -1, wantFrom: 3000},
			{sent: 2900, wantFrom: 3000},
		},
		"away for so long that others do not know of it": {
			{sent: 0, before: -1, wantFrom: 3000},
			{sent: 3100, took: 3, wantFrom: 6103},
			{sent: 4100, wantFrom: 6103},
		},
		"away for hours": {
			{sent: 0, before: -1, wantFrom: 3000},
			{sent: 10_000_000, before: -1, wantFrom: 10_003_000, wantLost: true},
		},
		"another epoch": {
			{sent: 0, before: -1, epoch: "a", wantFrom: 3000},
			{sent: 1000, before: -1, epoch: "b", wantFrom: 4000, wantLost: true},
			{sent: 2000, epoch: "b", wantFrom: 4000},
		},
		"another server": {
			{sent: 0, before: -1, process: "a", wantFrom: 3000},
			{sent: 1000, process: "b", wantFrom: 4000, wantLost: true},
			{sent: 2000, process: "b", wantFrom: 4000},
		},
		"the last beat is lost": {
			{sent: 0, before: -1, wantFrom: 3000},
			{sent: 1000, wantFrom: 3000},
			{sent: 2000, before: ahead, wantFrom: 5000, wantLost: true},
		},
		"the others are taken to be there after a loss": {
			{instances: 5, sent: 0, before: -1, epoch: "a", wantFrom: 3000},
			{instances: 4, sent: 1000, epoch: "a", wantFrom: 3000},
			{instances: 1, wantInstances: 4, sent: 2000, before: -1, epoch: "b", wantFrom: 5000, wantLost: true},
			{instances: 3, wantInstances: 4, sent: 3000, epoch: "b", wantFrom: 5000},
			{instances: 6, sent: 4000, epoch: "b", wantFrom: 5000},
			{instances: 3, sent: 5000, epoch: "b", wantFrom: 5000},
		},
		"the server's clock jumps ahead": {
			{sent: 0, before: -1, wantFrom: 3000},
			{sent: 1000, now: 2500 + ahead, wantFrom: 4000},
			{sent: 2000, now: 3500 + ahead, wantFrom: 4000},
		},
		"the server's clock jumps back": {
			{sent: 0, before: -1, wantFrom: 3000},
			{sent: 1000, now: ahead - 5000, wantFrom: 4000},
			{sent: 2000, now: ahead - 4000, wantFrom: 4000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var l Lease
			began, last := time.Now(), -1
			at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
			for i, s := range beats {
				if s.now == 0 {
					s.now = s.sent + ahead
				}
				if s.before == 0 {
					s.before = last
				}
				last = s.now
				b := Beat{Instances: s.instances, Epoch: s.epoch, Process: s.process,
					Now: time.Duration(s.now) * time.Millisecond, Before: time.Duration(s.before) * time.Millisecond}
				if s.before < 0 {
					b.Before = None
				}
				f, lost := l.Renew(b, at(s.sent), at(s.sent+s.took))
				if want := (limiter.Fleet{Instances: cmp.Or(s.wantInstances, s.instances), From: at(s.wantFrom), Until: at(s.sent + 2000)}); f != want {
					t.Errorf("beat %d: credit of %d instances from %s to %s, want %s to %s", i, f.Instances,
						f.From.Sub(began), f.Until.Sub(began), want.From.Sub(began), want.Until.Sub(began))
				}
				if lost != s.wantLost {
					t.Errorf("beat %d: lost is %t", i, lost)
				}
			}
		})
	}
}
