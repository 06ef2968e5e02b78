package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
	redigo "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	sethvargo "github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-redisstore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"
)

// connections is how many an instance may hold to Redis, go-redis's default on two cores. Further
// requests wait for one.
const connections = 20

// patience is how long a request waits for a connection or an answer. It is longer than any burst
// takes, so that no figure is one of timeouts.
const patience = time.Minute

// library is a limiter over Redis: for each instance a function that takes a token of a client.
type library struct {
	names  []string
	limits []limit
	takes  [instances]func(ctx context.Context, name string, l limit) (bool, error)
	ends   []func() error
}

func newLibrary(limits []limit) *library {
	return &library{names: names(len(limits)), limits: limits}
}

func (l *library) take(instance, client int) (bool, error) {
	return l.takes[instance](context.Background(), l.names[client], l.limits[client])
}

func (l *library) close() error {
	var errs []error
	for _, end := range l.ends {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// goRedis returns the client of one instance.
func (l *library) goRedis(server string) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr: server, PoolSize: connections, PoolTimeout: patience, ReadTimeout: patience,
	})
	l.ends = append(l.ends, client.Close)
	return client
}

func openRedisRate(server string, limits []limit) (fleet, error) {
	lib := newLibrary(limits)
	for i := range lib.takes {
		limiter := redis_rate.NewLimiter(lib.goRedis(server))
		lib.takes[i] = func(ctx context.Context, name string, l limit) (bool, error) {
			result, err := limiter.Allow(ctx, name, redis_rate.Limit{Rate: int(l.tokens), Burst: int(l.tokens), Period: l.period})
			if err != nil {
				return false, err
			}
			return result.Allowed == 1, nil
		}
	}
	return lib, nil
}

func openThrottled(server string, limits []limit) (fleet, error) {
	lib := newLibrary(limits)
	for i := range lib.takes {
		store, err := goredisstore.NewCtx(lib.goRedis(server), "throttled:")
		if err != nil {
			return nil, err
		}
		limiters := map[limit]*throttled.GCRARateLimiterCtx{}
		for _, l := range limits {
			limiters[l], err = throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{
				MaxRate:  throttled.PerDuration(int(l.tokens), l.period),
				MaxBurst: int(l.tokens) - 1,
			})
			if err != nil {
				return nil, err
			}
		}
		lib.takes[i] = func(ctx context.Context, name string, l limit) (bool, error) {
			limited, _, err := limiters[l].RateLimitCtx(ctx, name, 1)
			return err == nil && !limited, err
		}
	}
	return lib, nil
}

// openSethvargo keeps idle connections and waits for one, as the store that New makes does neither.
func openSethvargo(server string, limits []limit) (fleet, error) {
	lib := newLibrary(limits)
	for i := range lib.takes {
		pool := &redigo.Pool{
			MaxActive: connections, MaxIdle: connections, Wait: true,
			Dial: func() (redigo.Conn, error) { return redigo.Dial("tcp", server) },
		}
		lib.ends = append(lib.ends, pool.Close)
		stores := map[limit]sethvargo.Store{}
		for _, l := range limits {
			store, err := redisstore.NewWithPool(&redisstore.Config{Tokens: uint64(l.tokens), Interval: l.period}, pool)
			if err != nil {
				return nil, fmt.Errorf("store of %d in %v: %w", l.tokens, l.period, err)
			}
			stores[l] = store
		}
		lib.takes[i] = func(ctx context.Context, name string, l limit) (bool, error) {
			_, _, _, ok, err := stores[l].Take(ctx, name)
			return ok, err
		}
	}
	return lib, nil
}
