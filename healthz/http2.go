package healthz

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// request returns the request of a check in HTTP/2.
func (t *Target) request(ctx context.Context, cfg Config, method, path string, body io.Reader) (*http.Request, error) {
	u := url.URL{Scheme: "http", Host: t.Host, Opaque: path}
	if t.Secure != nil {
		u.Scheme = "https"
	}
	if cfg.Host != "" {
		u.Host = cfg.Host
	}
	r, err := http.NewRequestWithContext(ctx, method, "/", body)
	if err != nil {
		return nil, err
	}
	r.URL, r.Host = &u, u.Host
	r.Header.Set("User-Agent", "lb-health-check")
	return r, nil
}

// send sends the request of a check over conn, which nothing else uses.
func send(conn net.Conn, r *http.Request) (*http.Response, error) {
	taken := false
	take := func(context.Context, string, string) (net.Conn, error) {
		if taken {
			return nil, net.ErrClosed
		}
		taken = true
		return conn, nil
	}
	transport := &http.Transport{
		DialContext: take, DialTLSContext: take, Protocols: new(http.Protocols),
		DisableCompression: true, MaxResponseHeaderBytes: maxHeaderSize,
	}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport.RoundTrip(r)
}

// askHTTP2 is ask for a backend that speaks HTTP/2.
func askHTTP2(ctx context.Context, conn net.Conn, cfg Config, t *Target) error {
	what := cfg.asked()
	r, err := t.request(ctx, cfg, cfg.Method, cfg.Path, nil)
	if err != nil {
		return err
	}
	answer, err := send(conn, r)
	if err != nil {
		return fmt.Errorf("read the response header to %s: %w", what, err)
	}
	defer answer.Body.Close()
	if !cfg.Status.Has(answer.StatusCode) {
		return unexpected{fmt.Errorf("%s was answered with status %d, want %s", what, answer.StatusCode, cfg.Status), WrongStatus}
	}
	if cfg.Body == "" {
		return nil
	}
	switch _, found, err := search(io.LimitReader(answer.Body, maxBodySize), []byte(cfg.Body)); {
	case err != nil:
		return fmt.Errorf("read the response body to %s, without having found %q: %w", what, cfg.Body, err)
	case !found:
		return unexpected{fmt.Errorf("%s was answered without %q in the first %d KiB of the body", what, cfg.Body, maxBodySize>>10), WrongText}
	}
	return nil
}

// askGRPC calls Check of grpc.health.v1.
func askGRPC(ctx context.Context, conn net.Conn, cfg Config, t *Target) error {
	service := cfg.GRPC
	if service == wholeServer {
		service = ""
	}
	r, err := t.request(ctx, cfg, http.MethodPost, "/grpc.health.v1.Health/Check", bytes.NewReader(checkMessage(service)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	const what = "grpc.health.v1.Health/Check"
	answer, err := send(conn, r)
	if err != nil {
		return fmt.Errorf("read the response header to %s: %w", what, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc") {
		return unexpected{fmt.Errorf("%s was answered with status %d and type %q, which is no gRPC", what, answer.StatusCode, answer.Header.Get("Content-Type")), WrongStatus}
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxCheckSize))
	if err != nil {
		return fmt.Errorf("read the response to %s: %w", what, err)
	}
	return judge(what, body, statusOf(answer))
}

// statusOf returns the status of gRPC that a response has, and the message with it.
func statusOf(r *http.Response) (status string) {
	for _, fields := range [...]http.Header{r.Trailer, r.Header} {
		if status = fields.Get("Grpc-Status"); status != "" {
			if message := fields.Get("Grpc-Message"); message != "" && status != "0" {
				return status + " " + message
			}
			return status
		}
	}
	return ""
}

// judge returns why a backend that has answered so is not fit, or nil.
func judge(what string, body []byte, status string) error {
	switch code, _, _ := strings.Cut(status, " "); code {
	case "0":
	case "12":
		return unexpected{fmt.Errorf("the backend does not implement grpc.health.v1 (grpc-status %s to %s): register that service there, or set health.path in place of health.grpc", status, what), WrongStatus}
	default:
		return unexpected{fmt.Errorf("%s was answered with grpc-status %q", what, status), WrongStatus}
	}
	state, err := servingStatus(body)
	if err != nil {
		return fmt.Errorf("read the response to %s: %w", what, err)
	}
	if state != serving {
		return unexpected{fmt.Errorf("%s was answered with %s, want SERVING", what, stateName(state)), WrongStatus}
	}
	return nil
}

const (
	// wholeServer stands for the service without a name, whose state is that of the server.
	wholeServer = "*"
	// maxCheckSize is the most bytes that one check reads of the answer, which has two.
	maxCheckSize = 1 << 10
	serving      = 1
)

func stateName(state uint64) string {
	names := [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if state < uint64(len(names)) {
		return names[state]
	}
	return fmt.Sprintf("state %d", state)
}

// checkMessage returns a HealthCheckRequest with its prefix: field 1 is the service.
func checkMessage(service string) []byte {
	var message []byte
	if service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

var errMessage = errors.New("it is no HealthCheckResponse")

// servingStatus returns field 1 of a HealthCheckResponse with its prefix, 0 where it is left out.
func servingStatus(body []byte) (state uint64, err error) {
	if len(body) < 5 || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:5])) != uint64(len(body)-5) {
		return 0, errMessage
	}
	for b := body[5:]; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, errMessage
		}
		b = b[n:]
		value, n := binary.Uvarint(b) // or the length of what follows
		if n <= 0 {
			return 0, errMessage
		}
		b = b[n:]
		switch tag & 7 {
		case 0:
			if tag>>3 == 1 {
				state = value
			}
		case 2:
			if value > uint64(len(b)) {
				return 0, errMessage
			}
			b = b[value:]
		default:
			return 0, errMessage
		}
	}
	return state, nil
}
