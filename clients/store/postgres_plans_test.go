package store

import (
	"strings"
	"testing"

	"loadbalancer/clients/store/pgtest"
)

// TestWritesReadNoWholeTable writes to tables that have grown a moment ago, so that PostgreSQL has no
// statistics of them.
func TestWritesReadNoWholeTable(t *testing.T) {
	p := openPostgresURL(t, pgtest.NewDatabase(t), testBounds)
	for n := range 20 {
		if _, err := p.Write(t.Context(), func(tx Tx) error { return tx.Put(manyClients(n, true)) }); err != nil {
			t.Fatal(err)
		}
	}
	var names array
	for _, c := range manyClients(20, true) {
		names.string(c.ID.Name)
	}
	args, plan := names.done(), []string{}
	_, err := p.Write(t.Context(), func(tx Tx) error {
		for _, sql := range []string{deleteKeys, selectNames + " AND c.name IN (SELECT unnest($1::text[]))" + byName} {
			err := tx.(*postgresTx).query(func(columns [][]byte) error {
				plan = append(plan, string(columns[0]))
				return nil
			}, "EXPLAIN "+sql, args)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(plan) == 0 {
		t.Fatal(plan, err)
	}
	for _, line := range plan {
		if strings.Contains(line, "Seq Scan") {
			t.Errorf("%.200s", line)
		}
	}
}
