package management

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readPage parses a page, and checks that it is one document that needs nothing else.
func readPage(t *testing.T, page string) (ids []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.Replace(page, "<!doctype html>", "", 1)))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "wbr"}, xml.HTMLEntity
	var targets []string
	var depth, last int
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.EndElement:
			depth--
		case xml.StartElement:
			depth++
			name := e.Name.Local
			if slices.Contains([]string{"script", "img", "link", "iframe", "form", "object", "base"}, name) {
				t.Errorf("the page has <%s>", name)
			}
			if level := strings.Index("123456", strings.TrimPrefix(name, "h")); len(name) == 2 && name[0] == 'h' && level >= 0 {
				if level++; level > last+1 {
					t.Errorf("<h%d> follows <h%d>", level, last)
				}
				last = level
			}
			for _, a := range e.Attr {
				switch key := a.Name.Local; {
				case key == "id" && slices.Contains(ids, a.Value):
					t.Errorf("the id %s is there twice", a.Value)
				case key == "id":
					ids = append(ids, a.Value)
				case key == "href":
					targets = append(targets, a.Value)
				case key == "style" || strings.HasPrefix(key, "on") || key == "src":
					t.Errorf("<%s> has the attribute %s", name, key)
				}
			}
		}
	}
	if depth != 0 {
		t.Errorf("%d elements are not closed", depth)
	}
	for _, target := range targets {
		if id, within := strings.CutPrefix(target, "#"); target != "swagger.yaml" && !(within && slices.Contains(ids, id)) {
			t.Errorf("a link leads to %q", target)
		}
	}
	return ids
}

func renderPage(t *testing.T, text string) (page string, policy string) {
	t.Helper()
	p, err := newDescriptionPage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(p.to("127.0.0.1:8081", false)), p.policy
}

func TestDescriptionPage(t *testing.T) {
	text, err := os.ReadFile("../docs/swagger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, policy := renderPage(t, string(text))
	ids := readPage(t, page)
	calls := regexp.MustCompile(`(?m)^      operationId: (\w+)$`).FindAllStringSubmatch(string(text), -1)
	for _, call := range calls {
		if !slices.Contains(ids, call[1]) {
			t.Errorf("the page lacks %s", call[1])
		}
	}
	if len(calls) < 15 {
		t.Errorf("%d calls are described", len(calls))
	}
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	if sum := sha256.Sum256([]byte(style)); !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
		t.Errorf("the policy %s does not allow the style", policy)
	}
	if left := regexp.MustCompile("(<p>|<li>)([^<]|<code>[^<]*</code>)*(\\*\\*|`|\n[-|#>] |\\]\\(|\n[0-9]+\\. )").FindString(page); left != "" {
		t.Errorf("Markdown that the page does not render: %s", left)
	}
	for _, leftover := range []string{"lb.invalid", "authorization.invalid", "ZgotmplZ", "<no value>", "%!"} {
		if strings.Contains(page, leftover) {
			t.Errorf("the page holds %s", leftover)
		}
	}
}

// TestDescriptionPageEscapes has markup in all that the page shows.
func TestDescriptionPageEscapes(t *testing.T) {
	const evil = `<script>alert(1)</script>`
	page, _ := renderPage(t, strings.ReplaceAll(`
info: {title: 'EVIL', description: "EVIL `+"`EVIL` **EVIL**"+`\n\n- EVIL"}
servers: [{url: /v1/api}]
tags: [{name: 'EVIL', description: 'EVIL'}]
paths:
  /EVIL/{a}:
    post:
      tags: ['EVIL']
      operationId: 'EVIL'
      summary: 'EVIL'
      description: 'EVIL'
      parameters: [{name: 'a', in: 'EVIL', description: 'EVIL', schema: {type: 'EVIL', pattern: 'EVIL', enum: ['EVIL']}, example: 'EVIL'}]
      requestBody: {content: {'EVIL': {schema: {$ref: '#/components/schemas/EVIL'}, examples: {a: {summary: 'EVIL', value: {'EVIL': "EVIL'"}}}}}}
      responses: {'2EVIL': {description: 'EVIL', headers: {'EVIL': {description: 'EVIL'}}}, '400': {$ref: '#/components/responses/EVIL'}}
components:
  schemas: {'EVIL': {type: object, description: 'EVIL', properties: {'EVIL': {description: 'EVIL', default: 'EVIL'}}}}
  responses: {'EVIL': {description: 'EVIL', content: {application/problem+json: {schema: {type: object}, example: 'EVIL'}}}}
`, "EVIL", strings.ReplaceAll(evil, "/", "~")))
	if strings.Contains(page, "<script") || strings.Count(page, "&lt;script&gt;") < 20 {
		t.Errorf("the page is\n%s", page)
	}
}

func TestDescriptionPageNamesItsHost(t *testing.T) {
	p := &descriptionPage{html: []byte("curl " + anyToken + anyServer + "/v1/api/")}
	for host, want := range map[string]string{
		"lb.internal:8081": "lb.internal:8081", "localhost": "localhost", "[::1]:80": "[::1]:80",
		"": "localhost:8081", "a;id": "localhost:8081", "a b": "localhost:8081", "<i>": "localhost:8081", "$(id)": "localhost:8081", "-x/": "localhost:8081", "a\nb": "localhost:8081",
	} {
		if got := string(p.to(host, false)); got != "curl http://"+want+"/v1/api/" {
			t.Errorf("%q: got %s", host, got)
		}
	}
	if got := string(p.to("h", true)); got != "curl -H &#34;Authorization: Bearer $LB_TOKEN&#34; http://h/v1/api/" {
		t.Errorf("got %s", got)
	}
}

func TestMarkdown(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		"a\nb":                 "<p>a\nb</p>",
		"a\n\n**b** `c<d`, e*": "<p>a</p><p><strong>b</strong> <code>c&lt;d</code>, e*</p>",
		"- a\n- b `c`\n\nd":    "<ul><li>a</li><li>b <code>c</code></li></ul><p>d</p>",
		"`**a**` & <b>":        "<p><code>**a**</code> &amp; &lt;b&gt;</p>",
	} {
		if got := string(markdown(text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
