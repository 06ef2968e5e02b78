package described

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Recorder holds the calls that tests make to the description, and keeps what was called. It is
// safe for concurrent use.
type Recorder struct {
	mu         sync.Mutex // guards the compiler too
	operations []*Operation
	recorded   map[string]bool // "GET /limited 200"
	faults     []string
}

// NewRecorder returns a recorder for a description in OpenAPI 3.1. It panics where the file is not
// one, which TestDescription tells in more detail.
func NewRecorder(file string) *Recorder {
	d, err := open(file)
	if err != nil {
		panic(err)
	}
	return &Recorder{operations: d.operations(), recorded: map[string]bool{}}
}

// Operations are those of the description.
func (r *Recorder) Operations() []*Operation { return r.operations }

// Transport returns a RoundTripper over next that checks each call below /v1/api/. Where the
// request was accepted or the response has a header that is not as described, RoundTrip fails; where
// the body is not, its last Read. Report returns both, too. Bodies stream; of one longer than 16 MiB
// only the header is checked. A response with X-Backend is a fake backend's and not checked.
func (r *Recorder) Transport(next http.RoundTripper) http.RoundTripper { return &transport{r, next} }

type transport struct {
	*Recorder
	next http.RoundTripper
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(request.URL.Path, prefix+"/") {
		return t.next.RoundTrip(request)
	}
	sent := &recorded{}
	if request.Body != nil {
		request = request.Clone(request.Context())
		sent.ReadCloser, request.Body = request.Body, sent
	}
	response, err := t.next.RoundTrip(request)
	if err != nil || response.Header.Get("X-Backend") != "" {
		return response, err
	}
	described, err := t.checkCall(request, sent, response)
	if err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	if described.exists() && request.Method != http.MethodHead {
		response.Body = &recorded{ReadCloser: response.Body, ended: func(body []byte) error {
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.fault(request, response, checkBody(described, response.Header, body))
		}}
	}
	return response, nil
}

// CloseIdleConnections is for http.Client's method of that name.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// checkCall checks all but the body of the response, and returns what is described of that. A call
// that is not described may only be refused.
func (t *transport) checkCall(request *http.Request, sent *recorded, response *http.Response) (node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.find(request.Method, request.URL.EscapedPath())
	if o == nil {
		if s := response.StatusCode; s < 400 || s >= 500 {
			return node{}, t.fault(request, response, fmt.Errorf("the call is not described"))
		}
		return node{}, nil
	}
	described, as := o.response(response.StatusCode)
	if as == "" {
		return node{}, t.fault(request, response, fmt.Errorf("the status is not described"))
	}
	t.recorded[o.Method+" "+o.Path+" "+as] = true
	if body, whole := sent.content(); whole && response.StatusCode < 300 {
		err := o.checkRequest(request.URL.EscapedPath(), request.URL.Query(), request.Header, body)
		if err = t.fault(request, response, err); err != nil {
			return node{}, err
		}
	}
	hasBody := response.ContentLength != 0 && request.Method != http.MethodHead
	return described, t.fault(request, response, checkHead(described, response.Header, hasBody))
}

// find returns the operation of a call, or nil. HEAD is GET without the body.
func (r *Recorder) find(method, path string) *Operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, o := range r.operations {
		if o.Method == method && o.matches.MatchString(path) {
			return o
		}
	}
	return nil
}

// fault keeps what is wrong with a call.
func (r *Recorder) fault(request *http.Request, response *http.Response, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s %s, answered %d, is not as docs/swagger.yaml describes it: %w", request.Method, request.URL.RequestURI(), response.StatusCode, err)
	r.faults = append(r.faults, err.Error())
	return err
}

// Report returns what is wrong with the calls made so far, and the described responses that count
// and that none of them had.
func (r *Recorder) Report(counts func(o *Operation, status string) bool) (wrong []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong = slices.Clone(r.faults)
	for _, o := range r.operations {
		for _, status := range o.Statuses {
			if call := o.Method + " " + o.Path + " " + status; !r.recorded[call] && counts(o, status) {
				wrong = append(wrong, "docs/swagger.yaml describes a response that no test has got: "+call)
			}
		}
	}
	return wrong
}

// maxRecorded bounds what is kept of a body, in bytes.
const maxRecorded = 16 << 20

// recorded is a body that is kept as it is read.
type recorded struct {
	io.ReadCloser
	ended func(body []byte) error // at the end of a body that was kept whole; may be nil

	mu   sync.Mutex // a transport may still read a request's body when the response has come
	kept bytes.Buffer
	over bool
}

func (b *recorded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over = b.over || b.kept.Len()+n > maxRecorded; !b.over {
		b.kept.Write(p[:n])
	}
	if err == io.EOF && !b.over && b.ended != nil {
		if fault := b.ended(b.kept.Bytes()); fault != nil {
			return n, fault
		}
		b.ended = nil
	}
	return n, err
}

func (b *recorded) content() (body []byte, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.Bytes(), !b.over
}

// Conclude writes to stderr what Report returns, and returns the status to exit with: that of the
// tests, or 1. Where not all tests of a package were to run, responses that none has got are no
// fault.
func (r *Recorder) Conclude(status int, counts func(o *Operation, status string) bool) int {
	if status != 0 || !runsAll() {
		counts = func(*Operation, string) bool { return false }
	}
	for _, line := range r.Report(counts) {
		fmt.Fprintln(os.Stderr, line)
		status = max(status, 1)
	}
	return status
}

func runsAll() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}
