package central_test

import (
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/limiter/shared/central"
)

// step is a telling at a time, and what must be the answer.
type step struct {
	at   time.Duration
	tell limiter.Telling
	want limiter.Answer
	lose bool // before
}

// TestTell has a bucket of 10 tokens, one in 100 ms, unless a step says otherwise.
func TestTell(t *testing.T) {
	const token = 100 * time.Millisecond
	debt := func(tokens float64) time.Duration { return time.Duration(tokens * float64(token)) }
	with := func(debt time.Duration, granted, resets int64) limiter.Answer {
		return limiter.Answer{Debt: debt, Granted: granted, Resets: resets}
	}
	for name, steps := range map[string][]step{
		"refill": {
			{at: 0, tell: limiter.Telling{Spent: 4}, want: with(debt(4), 0, 0)},
			{at: token, tell: limiter.Telling{Spent: 1}, want: with(debt(4), 0, 0)},
			{at: 10 * token, tell: limiter.Telling{Spent: 1}, want: with(debt(1), 0, 0)},
		},
		"asked partly granted": {
			{at: 0, tell: limiter.Telling{Spent: 7, Asked: 5}, want: with(debt(10), 3, 0)},
			{at: token - time.Microsecond, tell: limiter.Telling{Asked: 1}, want: with(debt(9.00001), 0, 0)},
			{at: token, tell: limiter.Telling{Asked: 1}, want: with(debt(10), 1, 0)},
		},
		"told too much": {
			{at: 0, tell: limiter.Telling{Spent: 12, Asked: 5}, want: with(debt(12), 0, 0)},
			{at: 2 * token, tell: limiter.Telling{Asked: 5}, want: with(debt(10), 0, 0)},
		},
		"absent": {
			{at: 0, tell: limiter.Telling{Spent: 1, Asked: 9, Debt: debt(4), Resets: 3}, want: with(debt(10), 5, 3)},
		},
		"known debts count only where the bucket is lost": {
			{at: 0, tell: limiter.Telling{Spent: 1}, want: with(debt(1), 0, 0)},
			{at: 0, tell: limiter.Telling{Spent: 1, Debt: debt(8)}, want: with(debt(2), 0, 0)},
			{at: 0, tell: limiter.Telling{Spent: 1, Debt: debt(8)}, want: with(debt(9), 0, 0), lose: true},
		},
		"restore": {
			{at: 0, tell: limiter.Telling{Spent: 3}, want: with(debt(3), 0, 0)},
			{at: 0, tell: limiter.Telling{Spent: 1, Debt: debt(2), Restore: true}, want: with(debt(4), 0, 0)},
			{at: 0, tell: limiter.Telling{Spent: 1, Debt: debt(6), Restore: true}, want: with(debt(7), 0, 0)},
		},
		"reset": {
			{at: 0, tell: limiter.Telling{Spent: 10}, want: with(debt(10), 0, 0)},
			{at: 0, tell: limiter.Telling{Spent: 1, Reset: true}, want: with(debt(1), 0, 1)},
			// Longer than the bucket needs: an instance that knows only of the debt before comes late.
			{at: 9 * token, tell: limiter.Telling{Asked: 1, Debt: debt(1)}, want: with(debt(1), 1, 1)},
		},
		"resets never fall": {
			{at: 0, tell: limiter.Telling{Spent: 1}, want: with(debt(1), 0, 0)},
			{at: 0, tell: limiter.Telling{Spent: 1, Resets: 4}, want: with(debt(2), 0, 4)},
			{at: 0, tell: limiter.Telling{Spent: 1, Resets: 2}, want: with(debt(3), 0, 4)},
		},
		"a smaller capacity forgives, a larger one pays first": {
			{at: 0, tell: limiter.Telling{Spent: 9}, want: with(debt(9), 0, 0)},
			{at: 0, tell: limiter.Telling{Capacity: 4, Asked: 1}, want: with(debt(4), 0, 0)},
			{at: token, tell: limiter.Telling{Capacity: 4, Asked: 9}, want: with(debt(4), 1, 0)},
			{at: token, tell: limiter.Telling{Capacity: 7, Asked: 9}, want: with(debt(7), 0, 0)},
			{at: token, tell: limiter.Telling{Capacity: 20, Asked: 20}, want: with(debt(20), 11, 0)},
		},
		"a full bucket pays what is owed": {
			{at: 0, tell: limiter.Telling{Spent: 9}, want: with(debt(9), 0, 0)},
			{at: 0, tell: limiter.Telling{Capacity: 4}, want: with(debt(4), 0, 0)},
			{at: 7 * token, tell: limiter.Telling{Capacity: 4}, want: with(0, 0, 0)},
			{at: 7 * token, tell: limiter.Telling{}, want: with(debt(2), 0, 0)},
		},
		"only a smaller capacity forgives what was let through too much": {
			{at: 0, tell: limiter.Telling{Spent: 12}, want: with(debt(12), 0, 0)},
			{at: 0, tell: limiter.Telling{Rate: 5}, want: with(2*debt(12), 0, 0)},
			{at: 0, tell: limiter.Telling{Capacity: 5}, want: with(debt(5), 0, 0)},
		},
		"another rate keeps the tokens": {
			{at: 0, tell: limiter.Telling{Spent: 5}, want: with(debt(5), 0, 0)},
			{at: token, tell: limiter.Telling{Rate: 1}, want: with(10*debt(4), 0, 0)},
			{at: 2 * token, tell: limiter.Telling{Rate: 1}, want: with(10*debt(3.9), 0, 0)},
		},
		"a clock that goes back": {
			{at: 5 * token, tell: limiter.Telling{Spent: 5}, want: with(debt(5), 0, 0)},
			{at: token, tell: limiter.Telling{Asked: 9}, want: with(debt(10), 5, 0)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var c central.Central
			for i, s := range steps {
				s.tell.Client = "client"
				if s.tell.Capacity == 0 {
					s.tell.Capacity = 10
				}
				if s.tell.Rate == 0 {
					s.tell.Rate = 10
				}
				if s.lose {
					c.Lose()
				}
				if got := c.Tell(s.at, &s.tell); got != s.want {
					t.Errorf("step %d: %+v, want %+v", i, got, s.want)
				}
			}
		})
	}
}
