package clients

import (
	"bufio"
	"encoding/csv"
	"encoding/hex"
	"strconv"
	"time"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// showWhole returns a client with the digests of its keys, so that an import restores it.
func showWhole(c *store.Client) clientJSON {
	shown := show(*c)
	for i := range shown.Keys {
		shown.Keys[i].SHA256 = hex.EncodeToString(c.Keys[i].Digest[:])
	}
	return shown
}

// export returns what writes all clients in the order of the list. A client that is changed while
// they are written is as it was before or as it is after.
func (u *usecase) export(write func(*bufio.Writer, store.Records) error) (func(*bufio.Writer) error, error) {
	records := u.keeper()
	if !records.state().loaded {
		return nil, u.fault(limiter.ID{}, errNotLoaded)
	}
	return func(w *bufio.Writer) error { return write(w, records) }, nil
}

// writeNDJSON writes a line of JSON for each client.
func writeNDJSON(w *bufio.Writer, all store.Records) error {
	return eachUntil(all, func(c *store.Client) error {
		_, _ = w.Write(mustJSON(showWhole(c))) // the error is that of the next write, too
		return w.WriteByte('\n')
	})
}

// writeCSV writes a line with the names of the fields, and a line for each client. Labels and keys
// are JSON.
func writeCSV(w *bufio.Writer, all store.Records) error {
	out := csv.NewWriter(w)
	if err := out.Write(exportedColumns); err != nil {
		return err
	}
	row := make([]string, len(exportedColumns))
	err := eachUntil(all, func(c *store.Client) error {
		shown := showWhole(c)
		for i, name := range exportedColumns {
			row[i] = cell(&shown, name)
		}
		return out.Write(row)
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

var exportedColumns = []string{
	fieldAddress, fieldName, fieldKeys, fieldPlan, fieldCapacity, fieldRate, fieldMaxInFlight, fieldShadow,
	trialCapacity, trialRate, fieldEach, fieldBlocked, fieldLabels, fieldExpires, fieldCreated, fieldUpdated,
}

const (
	trialCapacity = fieldTrial + "." + fieldCapacity
	trialRate     = fieldTrial + "." + fieldRate
)

// cell returns the value of a field as it stands in CSV, or "" where the client does not have it.
func cell(c *clientJSON, name string) string {
	switch name {
	case fieldAddress:
		return c.IPAddress
	case fieldName:
		return c.Name
	case fieldKeys:
		if len(c.Keys) > 0 {
			return string(mustJSON(c.Keys))
		}
	case fieldPlan:
		return c.Plan
	case fieldCapacity:
		return wholeCell(c.Capacity)
	case fieldRate:
		return rateCell(c.RatePerSecond)
	case fieldMaxInFlight:
		return wholeCell(c.MaxInFlight)
	case fieldShadow:
		return boolCell(c.Shadow)
	case trialCapacity:
		return wholeCell(c.Trial.Capacity)
	case trialRate:
		return rateCell(c.Trial.RatePerSecond)
	case fieldEach:
		return boolCell(c.Each)
	case fieldBlocked:
		return boolCell(c.Blocked)
	case fieldLabels:
		if len(c.Labels) > 0 {
			return string(mustJSON(c.Labels))
		}
	case fieldExpires:
		if c.ExpiresAt != nil {
			return c.ExpiresAt.Format(time.RFC3339Nano)
		}
	case fieldCreated:
		return c.CreatedAt.Format(time.RFC3339Nano)
	case fieldUpdated:
		return c.UpdatedAt.Format(time.RFC3339Nano)
	}
	return ""
}

func wholeCell(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func rateCell(rate float64) string {
	if rate == 0 {
		return ""
	}
	return strconv.FormatFloat(rate, 'g', -1, 64)
}

func boolCell(b bool) string {
	if !b {
		return ""
	}
	return "true"
}
