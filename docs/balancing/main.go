// The command balancing compares the policies in a simulation.
package main

import (
	"fmt"
	"slices"
	"time"

	"loadbalancer/proxy/balance"
)

const seeds = 20

func main() {
	for _, s := range scenarios {
		fmt.Println(s.name)
		for p := range balance.Policy(7) {
			var p50, p99 []time.Duration
			errs := 0.0
			for seed := range uint64(seeds) {
				o := simulate(p, s, seed)
				p50, p99 = append(p50, o.p50), append(p99, o.p99)
				errs += o.errors / seeds
			}
			slices.Sort(p50)
			slices.Sort(p99)
			fmt.Printf("%-15s %8.2f %8.2f (%.2f–%.2f) %6.2f %%\n", p, ms(p50[10]), ms(p99[10]), ms(p99[0]), ms(p99[19]), errs*100)
		}
	}
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
