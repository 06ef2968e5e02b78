package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"loadbalancer/proxy/listen"
)

// defaultHealthTimeout is the default of --timeout.
const defaultHealthTimeout = 3 * time.Second

// healthcheckCommand asks the load balancer that runs with a config file whether it is ready.
func healthcheckCommand(flags *flag.FlagSet) action {
	path := pathFlag(flags)
	timeout := flags.Duration("timeout", defaultHealthTimeout, "how much `time` the answer may take")
	return func(ctx context.Context, _ []string, stdout io.Writer) error {
		if *timeout <= 0 {
			return usageError{fmt.Errorf("lb healthcheck: --timeout=%s is invalid: use a time above 0, such as %s", *timeout, defaultHealthTimeout)}
		}
		address, err := managementAddress(*path)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		answer, err := askReady(ctx, address)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("/readyz on management.listen (%s) has not answered within %s", address, *timeout)
		}
		if err == nil {
			fmt.Fprintln(stdout, answer)
		}
		return err
	}
}

// managementAddress reads where the management listener is. Faults elsewhere in the file do not
// matter: the process may run with the file as it was before, and must not count as unhealthy.
func managementAddress(path string) (listen.Address, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return listen.Address{}, fmt.Errorf("read the config file: %w; set its path with --path=FILE", err)
	}
	doc, err := readDocument(path, text, os.LookupEnv)
	if err != nil {
		return listen.Address{}, err
	}
	c := defaultConfig()
	if err := doc.decode(&c); err != nil {
		return listen.Address{}, err
	}
	address := c.Management.Listen
	_, port := address.HostPort()
	switch {
	case doc.told["management.listen"]:
		return address, doc.err()
	case address.IsZero():
		return address, fmt.Errorf(`%s: management.listen is "", so there is no /readyz to ask: set an address`, path)
	case port == "0":
		return address, fmt.Errorf("%s: management.listen is %s, a port that each start chooses anew: set a fixed one", path, address)
	}
	return address, nil
}

// maxAnswer bounds what is read of the answer, in bytes.
const maxAnswer = 4 << 10

// askReady returns what /readyz says, or an error where it does not say that the balancer is ready.
func askReady(ctx context.Context, address listen.Address) (string, error) {
	network, at := "tcp", address.String()
	if path, ok := address.Socket(); ok {
		network, at = "unix", path
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// A dial to a wildcard address, such as :8081 or 0.0.0.0:8081, goes to loopback.
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, at)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("ask /readyz on management.listen (%s): %w", address, errors.Unwrap(err)) // without the URL
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("read the answer of /readyz on management.listen (%s): %w", address, err)
	}
	answer := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("/readyz on management.listen (%s) answered %d: %s", address, res.StatusCode, answer)
	}
	return answer, nil
}
