package top

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	answerTime = 5 * time.Second  // for an answer
	silence    = 10 * time.Second // after which a stream counts as broken: it tells something each second
	maxMessage = 64 << 20         // bytes of a message of the stream
	maxAnswer  = 1 << 20          // bytes of another answer
)

// client calls the management API of a load balancer.
type client struct {
	base  string // the URL of the API, without a slash at its end
	shown string // what people call it
	token string // "": none is sent
	http  http.Client
}

// newClient returns a client for the API at http://host:port, https://host:port or unix:/path. The
// error says what is allowed.
func newClient(management, token string) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c := &client{base: strings.TrimSuffix(management, "/"), shown: management, token: token}
	transport.DialContext = (&net.Dialer{Timeout: answerTime}).DialContext
	if path, ok := strings.CutPrefix(management, "unix:"); ok && path != "" {
		c.base, transport.Proxy = "http://localhost", nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	} else if u, err := url.Parse(c.base); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("--management=%s is invalid: use http://host:port, https://host:port or unix:/path", clean(management))
	}
	transport.ResponseHeaderTimeout = answerTime
	c.http = http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for no other
	}
	return c, nil
}

// call sends a request, and returns the response if its status is 200. The error is a sentence.
func (c *client) call(ctx context.Context, method, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/api"+path, nil)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreached(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refused(res)
}

// unreached says in words why there was no answer.
func (c *client) unreached(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // without the URL
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("nothing listens at %s", c.shown)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s does not answer", c.shown)
	}
	return fmt.Errorf("no connection to %s: %s", c.shown, clean(err.Error()))
}

// refused says in words why the answer is not what was asked for.
func (c *client) refused(res *http.Response) error {
	var problem struct{ Detail string }
	_ = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&problem) // other servers answer other things
	switch {
	case res.StatusCode == http.StatusUnauthorized && c.token == "":
		return fmt.Errorf("%s wants a token: set LB_TOKEN", c.shown)
	case res.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s does not accept the token in LB_TOKEN", c.shown)
	case res.StatusCode == http.StatusNotFound && problem.Detail == "":
		return fmt.Errorf("%s is not the management listener of a load balancer that lb top knows", c.shown)
	}
	return errors.New(clean(cmp.Or(problem.Detail, fmt.Sprintf("%s answered %s", c.shown, res.Status))))
}

// act drains or resumes a backend, and says what has become of it.
func (c *client) act(ctx context.Context, action string, b place) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := c.call(ctx, http.MethodPost, "/backends/"+url.PathEscape(b.pool)+"/"+url.PathEscape(b.address)+"/"+action)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var now struct {
		State    string
		InFlight int64 `json:"in_flight"`
		Warnings []string
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&now); err != nil {
		return "", c.unreached(err)
	}
	words := fmt.Sprintf("%s is resumed: its state is %s", b.address, now.State)
	if action == "drain" {
		words = fmt.Sprintf("%s is drained: %s under way there", b.address, plural(now.InFlight, "request"))
	}
	return clean(strings.Join(append([]string{words}, now.Warnings...), "; ")), nil
}

// stream tells how the load balancer stands. One goroutine may use it at a time.
type stream struct {
	client *client
	cancel context.CancelFunc
	body   io.Closer
	lines  *bufio.Scanner
}

// follow opens a stream. ctx ends it.
func (c *client) follow(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	res, err := c.call(ctx, http.MethodGet, "/status/stream")
	if err != nil {
		cancel()
		return nil, err
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxMessage)
	return &stream{c, cancel, res.Body, lines}, nil
}

// close ends the stream.
func (s *stream) close() {
	s.cancel()
	_ = s.body.Close() // there is nothing left to read
}

// next waits for a message. The error is io.EOF where the load balancer has ended the stream, as it
// does at a reload, and else a sentence.
func (s *stream) next() (*document, error) {
	timer := time.AfterFunc(silence, s.cancel)
	defer timer.Stop()
	for s.lines.Scan() {
		data, ok := bytes.CutPrefix(s.lines.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		d := new(document)
		if err := json.Unmarshal(data, d); err != nil {
			return nil, fmt.Errorf("%s tells what lb top cannot read: %s", s.client.shown, clean(err.Error()))
		}
		return d, nil
	}
	switch err := s.lines.Err(); {
	case err == nil:
		return nil, io.EOF
	case !timer.Stop():
		return nil, fmt.Errorf("%s has told nothing for %s", s.client.shown, age(silence))
	default:
		return nil, s.client.unreached(err)
	}
}
