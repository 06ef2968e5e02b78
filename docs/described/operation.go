package described

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Operation is a call that the description has.
type Operation struct {
	Method   string
	Path     string // below /v1/api, as described: /clients/{client}
	Tag      string
	Statuses []string // of the described responses, in order
	Takes    []string // the media types of the body, in order; none: it has no body

	node       node
	parameters []node
	matches    *regexp.Regexp // matches the path as it is sent, escaped
}

// prefix is the path of servers[0].
const prefix = "/v1/api"

// operations returns all operations; those with fewer parameters in their paths come first.
func (d *document) operations() (all []*Operation) {
	for path := range d.root.get("paths").members() {
		item := d.root.get("paths", path)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			found := item.get(strings.ToLower(method))
			if !found.exists() {
				continue
			}
			o := &Operation{Method: method, Path: path, node: found, matches: matcher(path)}
			o.parameters = append(item.get("parameters").items(), found.get("parameters").items()...)
			for _, tag := range found.get("tags").items() {
				o.Tag = tag.text()
			}
			for status := range found.get("responses").members() {
				o.Statuses = append(o.Statuses, status)
			}
			slices.Sort(o.Statuses)
			o.Takes = slices.Sorted(maps.Keys(found.get("requestBody", "content").members()))
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *Operation) int {
		return cmp.Or(strings.Count(a.Path, "{")-strings.Count(b.Path, "{"), strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	return all
}

// matcher matches the spellings of a path: with and without a trailing slash, and a range as a
// {client} with its slash as %2F or plain.
func matcher(path string) *regexp.Regexp {
	parts := regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(strings.Trim(path, "/"), func(name string) string {
		if name == "{client}" {
			return `([^/]+(?:/[0-9]+)?)`
		}
		return `([^/]+)`
	})
	return regexp.MustCompile("^" + prefix + "/" + parts + "/?$")
}

// Target returns a path of the operation with the examples of its parameters, below the server's
// root: /v1/api/clients/127.0.0.1.
func (o *Operation) Target() string {
	return prefix + regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(o.Path, func(name string) string {
		for _, p := range o.parameters {
			if "{"+p.get("name").text()+"}" != name {
				continue
			}
			example := p.get("example")
			for _, key := range slices.Sorted(maps.Keys(p.get("examples").members())) {
				if !example.exists() {
					example = p.get("examples", key, "value")
				}
			}
			return url.PathEscape(example.text())
		}
		return "none"
	})
}

// checkRequest checks a request that was accepted.
func (o *Operation) checkRequest(path string, query url.Values, header http.Header, body []byte) error {
	var faults []error
	values := o.matches.FindStringSubmatch(path)[1:]
	known := map[string]bool{}
	for _, p := range o.parameters {
		name, place := p.get("name").text(), p.get("in").text()
		var given []string
		switch place {
		case "path":
			i := slices.Index(regexp.MustCompile(`\{\w+\}`).FindAllString(o.Path, -1), "{"+name+"}")
			value, err := url.PathUnescape(values[i])
			if err != nil {
				return err
			}
			given = []string{value}
		case "query":
			known[name], given = true, query[name]
		case "header":
			given = header.Values(name)
		}
		if err := checkGiven(p, given); err != nil {
			faults = append(faults, fmt.Errorf("the parameter %s: %w", name, err))
		}
	}
	for name := range query {
		if !known[name] {
			faults = append(faults, fmt.Errorf("the parameter %s is not described", name))
		}
	}
	return errors.Join(append(faults, o.checkSent(header, body))...)
}

// checkGiven checks the values of a parameter or of a header field, which has a schema.
func checkGiven(described node, given []string) error {
	switch {
	case len(given) == 0 && described.get("required").isTrue():
		return errors.New("is missing")
	case len(given) > 1 && described.get("schema", "type").text() != "array":
		return errors.New("is there twice")
	}
	for _, text := range given {
		if err := described.get("schema").check(fromText(described, text)); err != nil {
			return err
		}
	}
	return nil
}

// fromText reads a parameter or a field by the type in its schema.
func fromText(described node, text string) any {
	switch described.get("schema", "type").text() {
	case "integer", "number", "boolean":
		if value, err := jsonschema.UnmarshalJSON(strings.NewReader(text)); err == nil {
			return value
		}
	case "array":
		return []any{text}
	}
	return text
}

// checkSent checks the body of a request. Its Content-Type counts only where it is described: the
// API takes any other for JSON.
func (o *Operation) checkSent(header http.Header, body []byte) error {
	described := o.node.get("requestBody")
	switch {
	case len(body) == 0 && described.get("required").isTrue():
		return errors.New("the request has no body")
	case len(body) == 0:
		return nil
	case !described.exists():
		return errors.New("a body of the request is not described")
	}
	for _, name := range []string{mediaType(header), "application/json", "application/merge-patch+json"} {
		media := described.get("content", name)
		switch {
		case !media.exists():
		case name == "application/x-ndjson" || !strings.HasSuffix(name, "json"):
			return nil // lines of an import may be wrong: the response says which
		default:
			return checkJSON(media.get("schema"), body)
		}
	}
	return nil
}

func mediaType(header http.Header) string {
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

func checkJSON(schema node, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return schema.check(value)
}

// toldByFields are the fields that a response may have only where they are described, beside those
// that begin with Lb-.
var toldByFields = []string{"Allow", "Etag", "Last-Modified", "Link", "Location", "Retry-After", "Www-Authenticate"}

// response returns what is described of a response with this status.
func (o *Operation) response(status int) (described node, as string) {
	for _, as := range []string{fmt.Sprint(status), fmt.Sprintf("%dXX", status/100), "default"} {
		if described := o.node.get("responses", as); described.exists() {
			return described, as
		}
	}
	return node{}, ""
}

// checkHead checks the header of a response.
func checkHead(described node, header http.Header, hasBody bool) error {
	var faults []error
	for name := range described.get("headers").members() {
		if err := checkGiven(described.get("headers", name), header.Values(name)); err != nil {
			faults = append(faults, fmt.Errorf("the field %s: %w", name, err))
		}
	}
	for name := range header {
		if !slices.Contains(toldByFields, name) && !strings.HasPrefix(name, "Lb-") {
			continue
		}
		has := func(described string) bool { return http.CanonicalHeaderKey(described) == name }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(described.get("headers").members())), has) {
			faults = append(faults, fmt.Errorf("the field %s is not described", name))
		}
	}
	content := described.get("content")
	switch media := mediaType(header); {
	case !content.exists() && hasBody:
		faults = append(faults, errors.New("a body of the response is not described"))
	case content.exists() && !content.get(media).exists():
		faults = append(faults, fmt.Errorf("the Content-Type %q is not described", media))
	}
	return errors.Join(faults...)
}

// checkBody checks the body of a response: JSON as a whole, NDJSON by its lines, anything else as a
// string.
func checkBody(described node, header http.Header, body []byte) error {
	media := mediaType(header)
	schema := described.get("content", media, "schema")
	switch {
	case !schema.exists():
		return nil
	case media == "application/x-ndjson":
		for line := range bytes.Lines(body) {
			if err := checkJSON(schema, line); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
		}
		return nil
	case strings.HasSuffix(media, "json"):
		return checkJSON(schema, body)
	}
	return schema.check(string(body))
}
