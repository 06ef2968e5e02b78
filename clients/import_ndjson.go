package clients

import (
	"bytes"
	"errors"

	"loadbalancer/clients/rest"
)

// ndjsonSource are lines of JSON, each a client as POST takes it. Empty lines are passed over.
type ndjsonSource struct{ lines *rest.Lines }

func (s *ndjsonSource) line() int { return s.lines.Number() }

func (s *ndjsonSource) next() (d draft, bad *rest.Fault, err error) {
	line, bad, err := nextLine(s.lines)
	if err == nil && bad == nil {
		d, bad = decodeLine(line)
	}
	return d, bad, err
}

// nextLine returns the next line that is not empty, or what is wrong with it.
func nextLine(lines *rest.Lines) (line []byte, bad *rest.Fault, err error) {
	for {
		line, err := lines.Next()
		if f, ok := errors.AsType[*rest.Fault](err); ok && f.Code == rest.TooLarge {
			return nil, f, nil
		}
		if err != nil || len(bytes.TrimSpace(line)) > 0 {
			return line, nil, err
		}
	}
}

// decodeLine decodes a client, as a POST has it.
func decodeLine(line []byte) (draft, *rest.Fault) {
	d, err := decodeClient(line)
	if err == nil {
		err = checkNew(d)
	}
	if err == nil {
		return d, nil
	}
	f, ok := errors.AsType[*rest.Fault](err)
	if !ok {
		panic("BUG: a line is refused with " + err.Error())
	}
	return draft{}, f
}
