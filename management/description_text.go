package management

import (
	"html/template"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// inlineMarks are the Markdown inside a line that the description uses, in text that is escaped.
var inlineMarks = regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*")

// markdown renders the Markdown that the description uses: paragraphs, lists of lines with "- ",
// `code` and **bold**. TestDescriptionPage holds it to that.
func markdown(text string) template.HTML {
	var html strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if block = strings.TrimSpace(block); block == "" {
			continue
		}
		if items, isList := strings.CutPrefix(block, "- "); isList {
			html.WriteString("<ul>")
			for item := range strings.SplitSeq(items, "\n- ") {
				html.WriteString("<li>" + inlineMarkdown(item) + "</li>")
			}
			html.WriteString("</ul>")
			continue
		}
		html.WriteString("<p>" + inlineMarkdown(block) + "</p>")
	}
	return template.HTML(html.String())
}

func inlineMarkdown(text string) string {
	return inlineMarks.ReplaceAllStringFunc(template.HTMLEscapeString(text), func(mark string) string {
		if code, isCode := strings.CutPrefix(mark, "`"); isCode {
			return "<code>" + strings.TrimSuffix(code, "`") + "</code>"
		}
		return "<strong>" + strings.Trim(mark, "*") + "</strong>"
	})
}

// inWords returns a name such as TooManyRequests as words: Too many requests.
func inWords(name string) string {
	return regexp.MustCompile("[a-z][A-Z]").ReplaceAllStringFunc(name, func(edge string) string {
		return edge[:1] + " " + strings.ToLower(edge[1:])
	})
}

// breakable is a path that a narrow page may break before a slash.
func breakable(path string) template.HTML {
	return template.HTML(strings.ReplaceAll(template.HTMLEscapeString(path), "/", "<wbr>/"))
}

// jsonOf writes a YAML value as JSON, on one line or, with an indent of "\n", on several. A string
// at the top that an example has for a body that is not JSON is the same in JSON.
func jsonOf(n *yaml.Node, indent string) string {
	if n == nil {
		return ""
	}
	inner, space := indent, ""
	if indent != "" {
		inner, space = indent+"  ", " "
	}
	var parts []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, quoteJSON(n.Content[i].Value)+":"+space+jsonOf(n.Content[i+1], inner))
		}
		return enclose("{", parts, "}", indent, inner)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			parts = append(parts, jsonOf(item, inner))
		}
		return enclose("[", parts, "]", indent, inner)
	case yaml.AliasNode:
		return jsonOf(n.Alias, indent)
	}
	if n.Tag == "!!str" {
		return quoteJSON(n.Value)
	}
	return n.Value
}

func enclose(open string, parts []string, end, indent, inner string) string {
	if len(parts) == 0 {
		indent, inner = "", ""
	}
	return open + inner + strings.Join(parts, ","+inner) + indent + end
}

// quoteJSON quotes a string as JSON does, but leaves <, > and & as they are.
func quoteJSON(text string) string {
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			quoted.WriteByte('\\')
			quoted.WriteRune(r)
		case r == '\n':
			quoted.WriteString(`\n`)
		case r < ' ':
			quoted.WriteString(`\u` + strconv.FormatInt(0x10000+int64(r), 16)[1:])
		default:
			quoted.WriteRune(r)
		}
	}
	quoted.WriteByte('"')
	return quoted.String()
}

// curl is a call that can be copied into a shell.
type curl struct{ Summary, Line string }

// curls are the calls that the examples of an operation make. An example of a body is for the
// example of the path's parameter that has the same key, if there is one.
func (d *description) curls(o *operation) (all []curl) {
	for _, content := range o.RequestBody.Content {
		for _, e := range content.Value.all() {
			field := ""
			if content.Key != "application/json" {
				field = " -H 'Content-Type: " + content.Key + "'"
			}
			body := jsonOf(e.Value.Value.Node, "")
			if !strings.HasSuffix(content.Key, "/json") && e.Value.Value.Kind == yaml.ScalarNode {
				body = e.Value.Value.Value // lines of text
			}
			all = append(all, curl{e.Value.Summary, d.curl(o, e.Key) + field + " -d " + quoteShell(body)})
		}
	}
	if len(all) == 0 {
		all = append(all, curl{Line: d.curl(o, "")})
	}
	return all
}

var pathParameters = regexp.MustCompile(`\{\w+\}`)

// curl is a call without its body.
func (d *description) curl(o *operation, key string) string {
	method := ""
	if o.Method != "GET" {
		method = "-X " + o.Method + " "
	}
	return "curl " + method + anyToken + anyServer + d.Servers[0].URL + pathParameters.ReplaceAllStringFunc(o.Path, func(name string) string {
		for _, p := range o.Parameters {
			if "{"+p.Name+"}" == name {
				return url.PathEscape(p.example(key))
			}
		}
		return name
	})
}

// example is the value of a parameter in examples: the one with this key, or the first.
func (p parameter) example(key string) string {
	if same := p.Examples.get(key).Value; same.Node != nil {
		return same.Node.Value
	}
	switch {
	case p.Example.Node != nil:
		return p.Example.Value
	case len(p.Examples) > 0:
		return p.Examples[0].Value.Value.Value
	}
	return p.Name
}

// all are the examples of a body.
func (m media) all() named[example] {
	if m.Example.Node != nil {
		return append(named[example]{{Value: example{Value: m.Example}}}, m.Examples...)
	}
	return m.Examples
}

func quoteShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
