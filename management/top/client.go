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
	"time"
	"unicode"
)

const (
	answerTime = 5 * time.Second  // for an answer
	silence    = 10 * time.Second // of a stream, which tells something each second: then it counts as broken
	maxMessage = 64 << 20         // bytes of a message of the stream
	maxAnswer  = 1 << 20          // bytes of another answer
)

// client calls the management API of a load balancer.
type client struct {
	base    string // the URL of the API, without a slash at its end
	shown   string // what people call it
	token   string // "": none is sent
	silence time.Duration
	http    http.Client
}

// newClient returns a client for the API at http://host:port, https://host:port or unix:/path. The
// error says what is allowed.
func newClient(management, token string) (*client, error) {
	at, err := parseAddress(management)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(token, unicode.IsControl) { // no field of a header can have it
		return nil, errors.New("LB_TOKEN is invalid: it has a line break or another control character, which no token has")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c := &client{base: at.base, shown: clean(management), token: token, silence: silence}
	transport.DialContext = (&net.Dialer{Timeout: answerTime}).DialContext
	if at.socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", at.socket)
		}
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
	return nil, c.refusal(res)
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
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", c.unreached(err)
	}
	if err := json.Unmarshal(text, &now); err != nil {
		return "", c.unread(err.Error())
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
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		cancel()
		_ = res.Body.Close() // what is in it does not matter
		return nil, c.stranger(cmp.Or(kind, "something") + " in place of text/event-stream")
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
	timer := time.AfterFunc(s.client.silence, s.cancel)
	defer timer.Stop()
	for s.lines.Scan() {
		data, ok := bytes.CutPrefix(s.lines.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		d := new(document)
		if err := json.Unmarshal(data, d); err != nil {
			return nil, s.client.unread(err.Error())
		}
		return d, nil
	}
	switch err := s.lines.Err(); {
	case err == nil:
		return nil, io.EOF
	case !timer.Stop():
		return nil, fmt.Errorf("%s has told nothing for %s", s.client.shown, age(s.client.silence))
	case errors.Is(err, bufio.ErrTooLong):
		return nil, s.client.unread(fmt.Sprintf("a message of more than %d MiB", maxMessage>>20))
	default:
		return nil, s.client.unreached(err)
	}
}
