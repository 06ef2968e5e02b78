package routes

import "loadbalancer/proxy/upstream"

// share is a part of a route's clients, by their points, and the pool that they go to.
type share struct {
	end  uint64 // of its points; those of the shares before it come first
	pool *upstream.Pool
}

// points is the number of points that clients are spread over.
const points = 1 << 32

// newShares returns the shares of a split.
func newShares(split []SplitConfig, pools map[string]*upstream.Pool) (all []share) {
	total := 0.0
	for _, s := range split {
		total += s.Percent
		all = append(all, share{min(points, uint64(total/100*points)), pools[s.Pool]})
	}
	return all
}

// Splits reports whether clients of the route go to different pools.
func (r *Route) Splits() bool { return len(r.shares) > 0 }

// Pool returns the pool of a client, by a hash of what it is known by. One client always gets the
// same, on every instance and by every route with the same split. A client that a share has stays
// in it while the share and those before it grow.
func (r *Route) Pool(key uint64) *upstream.Pool {
	if len(r.shares) == 0 {
		return r.pool
	}
	// Multiplied, since ip_hash spreads a pool's clients by the bits of the same hash.
	point := key * 0x9e3779b97f4a7c15 >> 32
	for i := range r.shares {
		if point < r.shares[i].end {
			return r.shares[i].pool
		}
	}
	return r.pool
}
