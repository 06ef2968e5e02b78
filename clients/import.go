package clients

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

const (
	importBatchSize = 1000 // lines
	maxBadLines     = 1000 // in a report
)

// importReport is what became of the lines of an import. It is the response, as JSON.
type importReport struct {
	Read      int       `json:"read"` // lines with a client, good or bad
	Created   int       `json:"created"`
	Changed   int       `json:"changed"`
	Unchanged int       `json:"unchanged"`
	BadCount  int       `json:"bad_count"`
	Bad       []badLine `json:"bad"`  // the first of them, by line
	Done      int       `json:"done"` // number of the last line that was decided, as were all before it
}

// badLine is a line that is left out.
type badLine struct {
	Line   int    `json:"line"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

func newBadLine(line int, f *rest.Fault) badLine {
	// Faults are worded for a body, which is the line here.
	return badLine{Line: line, Field: f.Field, Detail: strings.Replace(f.Message, "the body", "the line", 1)}
}

func (r *importReport) add(o outcome) {
	r.Read += o.created + o.changed + o.unchanged + len(o.bad)
	r.Created += o.created
	r.Changed += o.changed
	r.Unchanged += o.unchanged
	r.BadCount += len(o.bad)
	slices.SortFunc(o.bad, func(a, b badLine) int { return a.Line - b.Line })
	r.Bad = append(r.Bad, o.bad[:min(len(o.bad), maxBadLines-len(r.Bad))]...)
}

// draftSource has the clients of an import, line by line.
type draftSource interface {
	// next returns the next client. bad is what is wrong with its line, after which it goes on. err
	// is io.EOF at the end, or a fault after which there are no more lines.
	next() (d draft, bad *rest.Fault, err error)
	// line is the number of the line that next has read last.
	line() int
}

// importClients creates or replaces the clients of a source, in batches, each of which is written
// as a whole or not at all. Bad lines are left out. With dry nothing is written. If it fails, the
// report is about the batches before.
func (u *usecase) importClients(ctx context.Context, k call, from draftSource, dry bool) (importReport, error) {
	report := importReport{Bad: []badLine{}}
	b := newImportBatch()
	flush := func(done int) error {
		o, err := u.importBatch(ctx, k, b, dry)
		if err != nil {
			return err
		}
		report.add(o)
		report.Done = done
		b = newImportBatch()
		return nil
	}
	for {
		done := from.line()
		d, bad, err := from.next()
		if err == io.EOF {
			return report, flush(from.line())
		}
		if err != nil {
			return report, err
		}
		if bad != nil {
			b.bad = append(b.bad, newBadLine(from.line(), bad))
		} else {
			if b.has(d.id) { // its lines are decided one after the other
				if err := flush(done); err != nil {
					return report, err
				}
			}
			b.add(from.line(), d)
		}
		if b.size() >= importBatchSize {
			if err := flush(from.line()); err != nil {
				return report, err
			}
		}
	}
}

// importBatch decides on a batch and writes it.
func (u *usecase) importBatch(ctx context.Context, k call, b *importBatch, dry bool) (outcome, error) {
	if len(b.lines) == 0 {
		return outcome{bad: b.bad}, nil
	}
	var o outcome
	err := u.write(ctx, k, func(tx store.Tx) (err error) {
		if o, err = b.decide(tx); err != nil {
			return err
		}
		if dry || o.created+o.changed == 0 {
			return errNothingToWrite
		}
		if err := tx.Put(o.clients); err != nil {
			return err
		}
		return tx.Note(entry(k, "import", countOfClients(len(o.clients)), null, mustJSON(o.note())))
	})
	if errors.Is(err, errNothingToWrite) {
		err = nil
	}
	return o, u.fault(limiter.ID{}, err)
}

// errNothingToWrite ends a transaction that has decided without a change.
var errNothingToWrite = errors.New("nothing to write")
