package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"loadbalancer/clients/rest"
)

// csvSource are lines of CSV (RFC 4180), the first of which names the fields. A row is made into the
// JSON of a client, so that it is decoded as any other. An empty cell is an absent field. A cell
// ends on its line: no field of a client has a line break.
type csvSource struct {
	lines   *rest.Lines
	columns []column // by group
	width   int      // cells of a row
	cells   []string
	json    []byte
}

// column is where a field is in a row.
type column struct {
	cell  int
	group string // field that holds the field, such as trial; "": none
	field string
	kind  cellKind
}

type cellKind int

const (
	textCell    cellKind = iota
	literalCell          // a number, or true or false
	jsonCell
	ignoredCell
)

// newCSVSource reads the first line. The error is a fault.
func newCSVSource(lines *rest.Lines) (*csvSource, error) {
	line, bad, err := nextLine(lines)
	if err == io.EOF {
		return nil, &rest.Fault{Code: rest.Invalid, Message: "the body is empty; allowed is CSV whose first line names the fields"}
	}
	if err != nil {
		return nil, err
	}
	s := &csvSource{lines: lines}
	var names []string
	if bad == nil {
		names, bad = splitRow(nil, line)
	}
	if bad != nil {
		return nil, &rest.Fault{Code: rest.Invalid, Message: "the line that names the fields: " + bad.Message}
	}
	s.width = len(names)
	for i, name := range names {
		c, err := columnOf(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		c.cell = i
		if slices.ContainsFunc(s.columns, c.conflicts) {
			return nil, &rest.Fault{Code: rest.Invalid, Field: rest.Shorten(name),
				Message: fmt.Sprintf("the column %s appears twice", rest.Quote(name))}
		}
		s.columns = append(s.columns, c)
	}
	slices.SortStableFunc(s.columns, func(a, b column) int { return strings.Compare(a.group, b.group) })
	return s, nil
}

const labelPrefix = fieldLabels + "."

// columnOf returns the column with a name.
func columnOf(name string) (column, error) {
	switch name {
	case fieldAddress, fieldName, fieldKey, fieldPlan, fieldExpires:
		return column{field: name}, nil
	case fieldCapacity, fieldRate, fieldMaxInFlight, fieldShadow, fieldEach, fieldBlocked:
		return column{field: name, kind: literalCell}, nil
	case trialCapacity, trialRate:
		return column{field: strings.TrimPrefix(name, fieldTrial+"."), group: fieldTrial, kind: literalCell}, nil
	case fieldKeys, fieldLabels:
		return column{field: name, kind: jsonCell}, nil
	case fieldCreated, fieldUpdated:
		return column{field: name, kind: ignoredCell}, nil
	}
	if label, ok := strings.CutPrefix(name, labelPrefix); ok && isLabelName(label) {
		return column{field: label, group: fieldLabels}, nil
	}
	return column{}, &rest.Fault{Code: rest.Invalid, Field: rest.Shorten(name), Message: fmt.Sprintf(
		"the column %s is unknown; allowed are, separated by commas, %q and %sNAME", rest.Quote(name), allowedColumns, labelPrefix)}
}

var allowedColumns = append([]string{fieldKey}, exportedColumns...)

// conflicts reports whether two columns are of the same field.
func (c column) conflicts(d column) bool {
	return c.field == d.field && c.group == d.group ||
		c.group == "" && c.field == d.group || d.group == "" && d.field == c.group
}

func (s *csvSource) line() int { return s.lines.Number() }

func (s *csvSource) next() (d draft, bad *rest.Fault, err error) {
	line, bad, err := nextLine(s.lines)
	if err != nil || bad != nil {
		return draft{}, bad, err
	}
	if s.cells, bad = splitRow(s.cells[:0], line); bad != nil {
		return draft{}, bad, nil
	}
	if len(s.cells) != s.width {
		return draft{}, &rest.Fault{Code: rest.Invalid,
			Message: fmt.Sprintf("the line has %d cells; the first line names %d fields", len(s.cells), s.width)}, nil
	}
	d, bad = decodeLine(s.object())
	return d, bad, nil
}

// object returns the cells as a JSON object.
func (s *csvSource) object() []byte {
	out, group := append(s.json[:0], '{'), ""
	for _, c := range s.columns {
		value := s.cells[c.cell]
		if value == "" || c.kind == ignoredCell {
			continue
		}
		if c.group != group {
			if group != "" {
				out = append(out, '}')
			}
			out = append(appendText(comma(out), c.group), ':', '{')
			group = c.group
		}
		out = append(appendText(comma(out), c.field), ':')
		out = c.kind.append(out, value)
	}
	if group != "" {
		out = append(out, '}')
	}
	s.json = append(out, '}')
	return s.json
}

func comma(out []byte) []byte {
	if out[len(out)-1] == '{' {
		return out
	}
	return append(out, ',')
}

// append appends the JSON of a cell. What is no JSON becomes a text, which the decoder refuses with
// the name of the field.
func (k cellKind) append(out []byte, value string) []byte {
	switch k {
	case literalCell:
		literal := strings.ToLower(strings.TrimSpace(value)) // some programs write TRUE
		if literal == "true" || literal == "false" || isNumber(literal) {
			return append(out, literal...)
		}
	case jsonCell:
		if json.Valid([]byte(value)) {
			return append(out, value...)
		}
	}
	return appendText(out, value)
}

func isNumber(text string) bool {
	return text != "" && (text[0] == '-' || '0' <= text[0] && text[0] <= '9') && json.Valid([]byte(text))
}

// appendText appends a JSON string.
func appendText(out []byte, text string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// splitRow appends the cells of a line.
func splitRow(cells []string, line []byte) ([]string, *rest.Fault) {
	if !utf8.Valid(line) {
		return cells, &rest.Fault{Code: rest.Malformed, Message: "the line is not UTF-8"}
	}
	for {
		cell, after, ok := cutCell(line)
		if !ok {
			return cells, &rest.Fault{Code: rest.Malformed, Message: fmt.Sprintf(
				"cell %d is not CSV: a quoted cell ends on its line with a quote, and a quote in it is doubled", len(cells)+1)}
		}
		cells = append(cells, cell)
		if after == nil {
			return cells, nil
		}
		line = after[1:] // behind the comma
	}
}

// cutCell cuts the first cell off a row. after begins with a comma, or is nil at the end.
func cutCell(row []byte) (cell string, after []byte, ok bool) {
	if len(row) == 0 || row[0] != '"' {
		end := bytes.IndexByte(row, ',')
		if end < 0 {
			return string(row), nil, bytes.IndexByte(row, '"') < 0
		}
		return string(row[:end]), row[end:], bytes.IndexByte(row[:end], '"') < 0
	}
	var text []byte
	for row = row[1:]; ; {
		end := bytes.IndexByte(row, '"')
		if end < 0 {
			return "", nil, false
		}
		text = append(text, row[:end]...)
		switch row = row[end+1:]; {
		case len(row) == 0:
			return string(text), nil, true
		case row[0] == ',':
			return string(text), row, true
		case row[0] != '"':
			return "", nil, false
		}
		text, row = append(text, '"'), row[1:]
	}
}
