package store

import (
	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// clientIn returns ErrNotFound if there is no such client.
func clientIn(tx *bbolt.Tx, id limiter.ID) (Client, error) {
	payload, err := getRecord(tx, clientsBucket, orderKey(id))
	if err != nil {
		return Client{}, err
	}
	if payload == nil {
		return Client{}, ErrNotFound
	}
	return readClient(id, payload)
}

// clientsIn visits the clients behind the key, in order, while visit returns true.
func clientsIn(tx *bbolt.Tx, after []byte, visit func(Client) bool) error {
	return eachRecord(tx, clientsBucket, after, func(key, payload []byte) (bool, error) {
		id, err := keyID(key)
		if err != nil {
			return false, errRecord
		}
		c, err := readClient(id, payload)
		if err != nil {
			return false, err
		}
		return visit(c), nil
	})
}

// appendPage appends at most limit clients behind after.
func appendPage(page []Client, tx *bbolt.Tx, after limiter.ID, limit int) ([]Client, error) {
	if limit <= 0 {
		return page, nil
	}
	end := len(page) + limit
	err := clientsIn(tx, orderKey(after), func(c Client) bool {
		page = append(page, c)
		return len(page) < end
	})
	return page, err
}

func planIn(tx *bbolt.Tx, name string) (Plan, error) {
	payload, err := getRecord(tx, plansBucket, []byte(name))
	if err != nil {
		return Plan{}, err
	}
	if payload == nil {
		return Plan{}, ErrNotFound
	}
	return readPlan(name, payload)
}

func plansIn(tx *bbolt.Tx) (all []Plan, err error) {
	err = eachRecord(tx, plansBucket, nil, func(key, payload []byte) (bool, error) {
		p, err := readPlan(string(key), payload)
		all = append(all, p)
		return true, err
	})
	return all, err
}
