package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"gopkg.in/yaml.v3"
)

// utf8Text converts a text to UTF-8 and removes a byte order mark. A text in UTF-16 must begin with
// one.
func utf8Text(text []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(text, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	var units []uint16
	for text = text[2:]; len(text) >= 2; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return []byte(string(utf16.Decode(units)))
}

// syntaxFaults maps the parser's messages to what they mean for the author of a config file.
var syntaxFaults = []struct{ parser, meaning string }{
	{"tab character", tabFault},
	{"control characters are not allowed", "a control character: save the file as UTF-8 (in UTF-16 it needs a byte order mark)"},
	{"UTF-8", "bytes that are not UTF-8: save the file as UTF-8"},
	{"cannot start any token", startFault},
	{"expected alphabetic or numeric", startFault},
	{"unknown escape character", `an unknown escape in double quotes: write \ as \\, or use single quotes`},
	{"unexpected end of stream", "a quote that is not closed"},
	{"expected ',' or '}'", bracketFault},
	{"expected ',' or ']'", bracketFault},
	{"expected node content", bracketFault},
	{"mapping values are not allowed", "a key where none can be: check the indentation, that the line above is complete, and that a value with a colon is in quotes"},
	{"could not find expected ':'", "neither a key with its colon nor a value: check this line and the one above"},
	{"expected '-' indicator", "a list that goes on without - or at another indentation"},
	{"did not find expected key", "an indentation that fits no section above, or something behind a closed quote or bracket"},
	{"entries are not allowed", "a list that begins on the line of its key: put it on the next"},
	{"unknown anchor", "an alias, *name, without its anchor, &name, above: put a text that begins with * in quotes"},
}

const (
	tabFault     = "a tab in the indentation: use spaces"
	startFault   = "a value that begins with one of @ ` % * & has to be in quotes"
	bracketFault = "a { or [ that is not closed, or that holds a value which needs quotes, as ${…} does"
)

// syntaxFault says in plain words what the parser rejected, and on which line.
func syntaxFault(file string, text []byte, err error) error {
	lines := bytes.SplitAfter(text, []byte("\n"))
	number := faultyLine(lines)
	line := lines[number-1]
	words := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(words, "line "); ok { // that line is often wrong
		_, words, _ = strings.Cut(rest, ": ")
	}
	for _, f := range syntaxFaults {
		if strings.Contains(words, f.parser) {
			words = f.meaning
			break
		}
	}
	indentation := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	if bytes.ContainsRune(indentation, '\t') {
		words = tabFault
	}
	return fmt.Errorf("%s:%d: %s", file, number, words)
}

// faultyLine returns the number of the first line that the parser rejects after the lines before
// it. The parser's own line number is often that of the enclosing section, or one too low.
func faultyLine(lines [][]byte) int {
	reader := lineReader{lines: lines}
	readable(&reader)
	for number := reader.read; number > 1; number-- {
		if readable(bytes.NewReader(bytes.Join(lines[:number-1], nil))) {
			return number
		}
	}
	return 1
}

// readable reports whether the parser reaches the end.
func readable(r io.Reader) bool {
	decoder := yaml.NewDecoder(r)
	for {
		if err := decoder.Decode(new(yaml.Node)); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// lineReader gives the parser one line at a time. read is the number of lines that it has asked
// for.
type lineReader struct {
	lines [][]byte
	read  int
	rest  []byte
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.read == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.read]
		r.read++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
