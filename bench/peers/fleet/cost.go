package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"
)

// kind is a sort of request. The clients ask for less than their rates, except those that are to be
// rejected, which have spent their tokens beforehand.
type kind struct {
	name  string
	limit limit
	spent bool
}

func kinds() []kind {
	return []kind{
		{name: "of a client away from its limit", limit: limit{1000, 10 * time.Second}},
		{name: "of a client with a capacity of 20", limit: limit{20, 200 * time.Millisecond}},
		{name: "rejected", limit: limit{10, 1000 * time.Second}, spent: true},
	}
}

const (
	clients   = 60
	perTick   = 10 // requests that an instance gets in a row
	tick      = 10 * time.Millisecond
	wireDelay = 2 * time.Millisecond
)

// cost is what a request of a kind costs: its latency, and on average the rest.
type cost struct {
	p50, p99   time.Duration
	cpu        time.Duration // of this process, with what sends the requests
	serverCPU  time.Duration
	commands   float64
	roundTrips float64 // that half of the requests wait for at most, by the time that they take
	fewest     int     // that any waits for
	failed     int
}

// measureCost has requests sent straight to the server, and then over a slow wire, which counts.
func measureCost(ctx context.Context, c contender, k kind, s *server, lasts time.Duration) (cost, error) {
	straight, err := measure(ctx, c, k, s, nil, lasts)
	if err != nil {
		return cost{}, err
	}
	w, err := newWire(s.address, wireDelay)
	if err != nil {
		return cost{}, err
	}
	slow, err := measure(ctx, c, k, s, w, lasts)
	if err = errors.Join(err, w.close()); err != nil {
		return cost{}, err
	}
	return cost{
		p50: straight.percentile(50), p99: straight.percentile(99),
		cpu:        straight.cpu / time.Duration(len(straight.latencies)),
		serverCPU:  straight.serverCPU / time.Duration(len(straight.latencies)),
		commands:   float64(slow.commands) / float64(len(slow.latencies)),
		roundTrips: roundTrips(slow.percentile(50)),
		fewest:     int(roundTrips(slow.percentile(0))),
		failed:     straight.failed + slow.failed,
	}, nil
}

// roundTrips is how often data goes over the wire and back in a time.
func roundTrips(took time.Duration) float64 { return float64(took) / float64(2*wireDelay) }

// measured is what the requests of one fleet took.
type measured struct {
	latencies []time.Duration
	failed    int
	cpu       time.Duration
	serverCPU time.Duration
	commands  int64
}

func (m *measured) percentile(p int) time.Duration {
	slices.Sort(m.latencies)
	return m.latencies[(len(m.latencies)-1)*p/100]
}

// measure opens a fleet over the server, through the wire if there is one, and counts only once the
// clients are as the kind has them.
func measure(ctx context.Context, c contender, k kind, s *server, w *wire, lasts time.Duration) (m measured, err error) {
	if err := s.empty(ctx); err != nil {
		return m, err
	}
	address := s.address
	if w != nil {
		address = w.address
	}
	f, err := c.open(address, slices.Repeat([]limit{k.limit}, clients))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if k.spent {
		if err := spend(f); err != nil {
			return m, err
		}
	}
	drive(f, 300*time.Millisecond) // so that connections stand, and clients are known

	serverBefore, err := s.cpu(ctx)
	if err != nil {
		return m, err
	}
	commandsBefore, before := w.count(), processorTime()
	m.latencies, m.failed = drive(f, lasts)
	m.cpu, m.commands = processorTime()-before, w.count()-commandsBefore
	serverAfter, err := s.cpu(ctx)
	m.serverCPU = serverAfter - serverBefore
	return m, err
}

// spend has every client ask until it is rejected by all instances.
func spend(f fleet) error {
	var (
		running sync.WaitGroup
		errs    [clients]error
	)
	for client := range clients {
		running.Go(func() {
			for instance := range instances {
				for granted := true; granted && errs[client] == nil; {
					granted, errs[client] = f.take(instance, client)
				}
			}
		})
	}
	running.Wait()
	return errors.Join(errs[:]...)
}

// drive has each instance asked a thousand times a second, or as often as it answers, for one client
// after the other.
func drive(f fleet, lasts time.Duration) (latencies []time.Duration, failed int) {
	var (
		running sync.WaitGroup
		own     [instances][]time.Duration
		errs    [instances]int
	)
	for instance := range instances {
		running.Go(func() {
			client := instance * clients / instances
			begin := time.Now()
			for due := time.Duration(0); time.Since(begin) < lasts; due += tick {
				time.Sleep(due - time.Since(begin))
				for range perTick {
					client = (client + 1) % clients
					called := time.Now()
					if _, err := f.take(instance, client); err != nil {
						errs[instance]++
					}
					own[instance] = append(own[instance], time.Since(called))
				}
			}
		})
	}
	running.Wait()
	for instance := range instances {
		latencies, failed = append(latencies, own[instance]...), failed+errs[instance]
	}
	return latencies, failed
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("BUG: getrusage: " + err.Error())
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
