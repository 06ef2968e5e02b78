package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared"
)

// sharing has this limiter on each instance, with a teller beside it.
type sharing struct {
	ours
	shares  [instances]*limiter.Share
	cancel  context.CancelFunc
	running sync.WaitGroup
	errs    [instances]error
}

// settled is how long after its first sign of life an instance has credit, and some more.
const settled = 3500 * time.Millisecond

// sharedWith has requests wait for so long at most. The fleet is opened once each instance knows of
// the others, and has credit.
func sharedWith(wait time.Duration) func(string, []limit) (fleet, error) {
	return func(server string, limits []limit) (fleet, error) {
		ctx, cancel := context.WithCancel(context.Background())
		s := &sharing{cancel: cancel}
		for i := range s.shares {
			lim, err := newLimiter()
			if err != nil {
				return nil, errors.Join(err, s.close())
			}
			s.shares[i] = lim.Share(wait)
			teller, err := shared.Open("redis://"+server, s.shares[i], func() {}, zerolog.Nop())
			if err != nil {
				return nil, errors.Join(err, s.close())
			}
			s.running.Go(func() { s.errs[i] = teller.Run(ctx) })
			s.register(i, lim, limits)
		}
		for deadline := time.Now().Add(10 * time.Second); !s.complete(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				return nil, errors.Join(fmt.Errorf("the instances do not find each other at %s", server), s.close())
			}
		}
		time.Sleep(settled)
		return s, nil
	}
}

// complete reports whether all instances know of all.
func (s *sharing) complete() bool {
	for _, share := range s.shares {
		if share.IsAway() || share.Instances() != instances {
			return false
		}
	}
	return true
}

func (s *sharing) close() error {
	s.cancel()
	s.running.Wait()
	return errors.Join(s.errs[:]...)
}
