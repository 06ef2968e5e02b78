package shared

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"loadbalancer/limiter/shared/redistest"
)

// TestDueIsNotPutOff has clients reach half of their credit one right after another, in less time than
// tellings wait for others: that more is due must not put off what is due already. One round of five
// has to go well, as a busy machine may be slow.
func TestDueIsNotPutOff(t *testing.T) {
	t.Parallel()
	i := start(t, redistest.Start(t, redistest.Options{}).URL())
	i.waitUntilBack()
	time.Sleep(3500 * time.Millisecond) // until there is credit: three tokens, of which each is told
	const clients, requests = 40, 20
	told := make([]int64, 0, 5)
	for len(told) < cap(told) {
		before := i.share.Counters().Tellings
		for n := range clients * requests {
			address := fmt.Sprintf("192.0.%d.%d", len(told), n%clients)
			if n < clients {
				set([]*instance{i}, address, 24)
			}
			i.ask(address)
			for began := time.Now(); time.Since(began) < 200*time.Microsecond; { // Sleep takes a millisecond
				runtime.Gosched()
			}
		}
		told = append(told, i.share.Counters().Tellings-before)
		if told[len(told)-1] > clients*requests*4/5 {
			return
		}
	}
	t.Errorf("%d tellings for %d requests", told, clients*requests)
}
