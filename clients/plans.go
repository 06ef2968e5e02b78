package clients

import (
	"context"
	"fmt"
	"sort"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// maxPlans is the largest number of plans. With several instances that make plans at once, it may
// be exceeded by as many.
const maxPlans = 10_000

// putPlan makes a plan or changes it for all its clients.
func (u *usecase) putPlan(ctx context.Context, k call, name string, terms limiter.Terms) (p store.Plan, created bool, err error) {
	full, err := u.plansAreFull()
	if err != nil {
		return store.Plan{}, false, u.fault(limiter.ID{}, err)
	}
	err = u.write(ctx, k, func(tx store.Tx) error {
		old, err := matchingPlan(tx, k.match, name, true)
		if err != nil {
			return err
		}
		created = old == nil
		p = store.Plan{Name: name, Terms: terms, UpdatedAt: store.Now()}
		if p.CreatedAt = p.UpdatedAt; !created {
			p.CreatedAt = old.CreatedAt
		}
		if created && full {
			return &rest.Fault{Code: rest.Exists, Message: fmt.Sprintf("there are %d plans, the most there may be", maxPlans)}
		}
		if err := checkPlan(tx, &p); err != nil {
			return err
		}
		if err := tx.PutPlan(p); err != nil {
			return err
		}
		if p, err = tx.Plan(name); err != nil { // with its version
			return err
		}
		return notePlan(tx, k, old, &p)
	})
	return p, created, u.fault(limiter.ID{}, err)
}

// checkPlan returns a fault unless the plan's terms can be enforced, also with those numbers that
// clients have of their own.
func checkPlan(tx store.Tx, p *store.Plan) error {
	if f := checkTerms(p.Terms); f != nil {
		return f
	}
	clients, err := tx.Overriding(p.Name)
	if err != nil {
		return err
	}
	for i := range clients {
		if field, allowed, ok := clients[i].Terms(p).Check(); !ok {
			return &rest.Fault{Code: rest.Invalid, Field: field, Message: fmt.Sprintf(
				"%s would be invalid for the client %s, which overrides a part of the plan; allowed is %s", field, clients[i].ID, allowed)}
		}
	}
	return nil
}

// removePlan deletes a plan that no client has.
func (u *usecase) removePlan(ctx context.Context, k call, name string) error {
	err := u.write(ctx, k, func(tx store.Tx) error {
		old, err := matchingPlan(tx, k.match, name, false)
		if err != nil {
			return err
		}
		users, err := tx.PlanUsers(name)
		if err != nil {
			return err
		}
		if users > 0 {
			return &rest.Fault{Code: rest.Exists, Members: map[string]any{"clients": users},
				Message: fmt.Sprintf("the plan %s is in use by %s; give each another plan first", name, countOfClients(users))}
		}
		if err := tx.DeletePlan(name); err != nil {
			return err
		}
		return notePlan(tx, k, old, nil)
	})
	return u.fault(limiter.ID{}, err)
}

// matchingPlan is matching for a plan.
func matchingPlan(tx store.Tx, match rest.Match, name string, create bool) (*store.Plan, error) {
	p, err := tx.Plan(name)
	switch {
	case isNotFound(err) && !create:
		return nil, noPlanFault(name)
	case isNotFound(err) && !match.Holds(""):
		return nil, &rest.Fault{Code: rest.Changed, Message: fmt.Sprintf("there is no plan %s, and If-Match asks for one", name)}
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !match.Holds(tag(p.Version, p.UpdatedAt)):
		return nil, &rest.Fault{Code: rest.Changed,
			Message: fmt.Sprintf("the plan %s was changed meanwhile: its ETag is %s; GET it and decide again", name, tag(p.Version, p.UpdatedAt))}
	}
	return &p, nil
}

func noPlanFault(name string) *rest.Fault {
	return &rest.Fault{Code: rest.NotFound, Message: "there is no plan " + name}
}

// notePlan appends a change of a plan to the audit.
func notePlan(tx store.Tx, k call, before, after *store.Plan) error {
	switch {
	case before == nil:
		return tx.Note(entry(k, "create", "plan "+after.Name, null, mustJSON(showPlan(*after))))
	case after == nil:
		return tx.Note(entry(k, "delete", "plan "+before.Name, mustJSON(showPlan(*before)), null))
	}
	return tx.Note(entry(k, "change", "plan "+after.Name, mustJSON(showPlan(*before)), mustJSON(showPlan(*after))))
}

func (u *usecase) plan(name string) (store.Plan, error) {
	if !u.keeper().state().loaded {
		return store.Plan{}, u.fault(limiter.ID{}, errNotLoaded)
	}
	p, err := u.keeper().Plan(name)
	if isNotFound(err) {
		err = noPlanFault(name)
	}
	return p, u.fault(limiter.ID{}, err)
}

// plans returns at most limit plans behind the name after, by name, and whether there are more.
func (u *usecase) plans(after string, limit int) (page []store.Plan, more bool, err error) {
	if !u.keeper().state().loaded {
		return nil, false, u.fault(limiter.ID{}, errNotLoaded)
	}
	all, err := u.keeper().Plans()
	if err != nil {
		return nil, false, u.fault(limiter.ID{}, err)
	}
	page = all[sort.Search(len(all), func(i int) bool { return all[i].Name > after }):]
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

func (u *usecase) plansAreFull() (bool, error) {
	all, err := u.keeper().Plans()
	return len(all) >= maxPlans, err
}
