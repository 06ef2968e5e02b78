package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/rs/zerolog"

	"loadbalancer/proxy"
)

// explainCommand says what would become of a request by a config file. Nothing is started or sent.
// Registered clients are not known to it: the API's explain asks the running process.
func explainCommand(flags *flag.FlagSet) action {
	path := pathFlag(flags)
	from := flags.String("from", "127.0.0.1", "the `address` that the request would come from")
	var headers headerFlags
	flags.Var(&headers, "H", "a `field` of the request, such as 'Host: example.com'; may be repeated")
	return func(_ context.Context, args []string, stdout io.Writer) error {
		if len(args) > 2 { // flags may stand behind the URL, too
			if err := flags.Parse(args[2:]); err != nil {
				return usageError{fmt.Errorf("lb explain: %w; see lb explain --help", err)}
			}
		}
		if len(args) < 2 || flags.NArg() > 0 && len(args) > 2 {
			return usageError{errors.New("lb explain: use lb explain METHOD URL [--from ADDRESS] [-H 'Name: value'] [--path=FILE]")}
		}
		addr, err := netip.ParseAddr(*from)
		if err != nil {
			return usageError{fmt.Errorf("lb explain: --from=%s is invalid: use an IP address, such as 192.0.2.1", *from)}
		}
		return explain(*path, proxy.Question{Method: args[0], URL: args[1], From: addr, Headers: headers}, stdout)
	}
}

func explain(path string, q proxy.Question, stdout io.Writer) error {
	c, _, err := loadConfig(path)
	if err != nil {
		return usageError{err}
	}
	var api *proxy.API
	if c.Management.APIOnProxy {
		api = &proxy.API{} // is asked nothing
	}
	limits, _ := c.newLimits()
	balancer := proxy.New(c.proxyOptions(limits, api, zerolog.Nop()))
	answer, err := balancer.Explain(q)
	if err != nil {
		return usageError{fmt.Errorf("lb explain: %w", err)}
	}
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", text)
	return err
}

// headerFlags collects the values of a flag that may be repeated.
type headerFlags []string

func (h *headerFlags) String() string { return strings.Join(*h, ", ") }

// Set adds one.
func (h *headerFlags) Set(line string) error {
	*h = append(*h, line)
	return nil
}
