package clients

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
)

// filter says which clients a list has. The zero value lets all pass.
type filter struct {
	label  label
	search search
}

func (f *filter) on(c *store.Client) bool { return f.label.on(c) && f.search.on(c) }

// parameters returns the filter as it stands in a query, behind others.
func (f *filter) parameters() (query string) {
	if f.label.name != "" {
		query += "&label=" + url.QueryEscape(f.label.name+"="+f.label.value)
	}
	if f.search.text != "" {
		query += "&search=" + url.QueryEscape(f.search.text)
	}
	return query
}

// label is a filter of clients; the zero value lets all pass.
type label struct{ name, value string }

func parseLabel(text string) (label, error) {
	name, value, found := strings.Cut(text, "=")
	if !found || !isLabelName(name) {
		return label{}, rest.Wrong("label", rest.Quote(text), "name=value, with the name and the value of a label")
	}
	return label{name, value}, nil
}

func (l label) on(c *store.Client) bool {
	value, has := c.Labels[l.name]
	return l.name == "" || has && value == l.value
}

// maxSearch is the length of the longest text that is searched for, in bytes. No name, address, id of a
// key or name=value is longer.
const maxSearch = max(store.MaxName, store.MaxLabel+len("=")+store.MaxLabel)

// search is a filter of clients by what they are known by; the zero value lets all pass.
type search struct {
	text    string
	lower   string
	address netip.Addr // valid if the text is an address
}

func parseSearch(text string) (search, error) {
	if text == "" || len(text) > maxSearch {
		return search{}, rest.Wrong("search", rest.Quote(text), fmt.Sprintf("a text of 1 to %d bytes", maxSearch))
	}
	address, _ := netip.ParseAddr(text)
	return search{text, strings.ToLower(text), address.Unmap()}, nil
}

// on reports whether the text is a part of the client's name, address or range, of the id of a key, or
// of a label as name=value, whatever the case of letters. An address is also on each range that holds
// it.
func (s *search) on(c *store.Client) bool {
	if s.text == "" || c.ID.Prefix.Contains(s.address) || s.in(c.ID.String()) {
		return true
	}
	if slices.ContainsFunc(c.Keys, func(k store.Key) bool { return s.in(k.ID) }) {
		return true
	}
	for name, value := range c.Labels {
		if s.in(name + "=" + value) {
			return true
		}
	}
	return false
}

func (s *search) in(text string) bool { return strings.Contains(strings.ToLower(text), s.lower) }
