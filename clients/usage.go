package clients

import (
	"cmp"
	"container/heap"
	"context"
	"slices"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// usage returns the usage of a client. It needs only the limiter, and works while the store is
// unavailable. A client that has expired has none.
func (u *usecase) usage(id limiter.ID) (limiter.Usage, error) {
	usage, ok := u.limiter.Usage(id)
	if ok {
		return usage, nil
	}
	_, err := u.get(id)
	return limiter.Usage{}, err
}

// reset fills the bucket of a client here and begins its counts anew. Like usage it works while the
// store is unavailable: then it is missing in the audit, and the error says why.
func (u *usecase) reset(ctx context.Context, by rest.Caller, id limiter.ID) (unnoted, err error) {
	if !u.limiter.Reset(id) {
		_, err := u.get(id)
		return nil, err
	}
	k := call{by: by}
	return u.write(ctx, k, func(tx store.Tx) error { return tx.Note(entry(k, "reset", id.String(), null, null)) }), nil
}

// limited returns at most the given number of clients that were rejected recently.
func (u *usecase) limited(most int) []limiter.Limited { return u.limiter.Limited(most) }

// used is the usage of a client.
type used struct {
	id limiter.ID
	limiter.Usage
}

// rejections counts those that shadow mode has let through, too.
func (u *used) rejections() int64 { return u.Limited + u.ShadowLimited }

// usageByName returns the usage of at most limit clients behind after, in the order of the list, and
// whether there are more. Clients that are not enforced, such as those that have expired, are left
// out.
func (u *usecase) usageByName(after limiter.ID, limit int) (page []used, more bool, err error) {
	return pageOf(u, after, limit, func(c *store.Client) (used, bool) {
		usage, ok := u.limiter.Usage(c.ID)
		return used{c.ID, usage}, ok
	})
}

// usagePlace is a place in the order by rejections.
type usagePlace struct {
	rejections int64
	id         limiter.ID
}

// compare orders places: the most rejections first, and clients with as many by name.
func (p usagePlace) compare(q usagePlace) int {
	return cmp.Or(cmp.Compare(q.rejections, p.rejections), store.Compare(p.id, q.id))
}

func (u *used) place() usagePlace { return usagePlace{u.rejections(), u.id} }

// usageByRejections returns the usage of at most limit clients behind a place, those rejected most
// first, and whether there are more. It looks at all clients. The zero place is before all.
func (u *usecase) usageByRejections(after usagePlace, limit int) (page []used, more bool, err error) {
	if !u.keeper().state().loaded {
		return nil, false, u.fault(after.id, errNotLoaded)
	}
	var first lastFirst
	err = each(u.keeper(), func(c *store.Client) {
		usage, ok := u.limiter.Usage(c.ID)
		if !ok {
			return
		}
		one := used{c.ID, usage}
		if after != (usagePlace{}) && one.place().compare(after) <= 0 {
			return
		}
		if len(first) > limit && one.place().compare(first[0].place()) > 0 {
			return
		}
		heap.Push(&first, one)
		if len(first) > limit+1 {
			heap.Pop(&first)
		}
	})
	if err != nil {
		return nil, false, u.fault(after.id, err)
	}
	slices.SortFunc(first, func(a, b used) int { return a.place().compare(b.place()) })
	return first[:min(limit, len(first))], len(first) > limit, nil
}

// lastFirst is a heap.Interface, the last in the order by rejections first.
type lastFirst []used

func (h lastFirst) Len() int           { return len(h) }
func (h lastFirst) Less(i, j int) bool { return h[i].place().compare(h[j].place()) > 0 }
func (h lastFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lastFirst) Push(x any)        { *h = append(*h, x.(used)) }
func (h *lastFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
