package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"

	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
)

const (
	maxBody = 1 << 20 // bytes
	// maxUnread is how much of a refused body is read and thrown away, in bytes. Closing a connection with
	// unread bytes resets it, and the caller would see that instead of the 413.
	maxUnread = 8 << 20
)

// The fields of a client in JSON.
const (
	fieldID       = "ip_address"
	fieldCapacity = "capacity"
	fieldRate     = "rate_per_second"
)

// clientRequest is the body of a POST or a PUT.
type clientRequest struct {
	id    netip.Prefix // the zero Prefix if the body does not say
	limit limiter.Limit
}

// readBody returns at most maxBody bytes. The server may stream: then its own limit on bodies does not hold.
func readBody(ctx *fasthttp.RequestCtx) ([]byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		if body := ctx.Request.Body(); len(body) <= maxBody {
			return body, nil
		}
		return nil, errTooLarge()
	}
	if ctx.Request.Header.ContentLength() <= maxBody { // negative if chunked
		body, err := io.ReadAll(io.LimitReader(stream, maxBody+1))
		if err != nil {
			return nil, &fault{code: malformed, message: "the body could not be read to its end", cause: err}
		}
		if len(body) <= maxBody {
			return body, nil
		}
	}
	// The 413 is due whether or not the rest arrives.
	_, _ = io.CopyN(io.Discard, stream, maxUnread)
	return nil, errTooLarge()
}

func errTooLarge() *fault {
	return &fault{code: tooLarge, message: fmt.Sprintf("the body is too large; allowed are %d bytes", maxBody)}
}

func decodeClient(body []byte) (clientRequest, error) {
	fields, err := decodeObject(body, fieldID, fieldCapacity, fieldRate)
	if err != nil {
		return clientRequest{}, err
	}
	var request clientRequest
	if request.id, err = decodeID(fields); err != nil {
		return clientRequest{}, err
	}
	if request.limit.Capacity, err = decodeCapacity(fields); err != nil {
		return clientRequest{}, err
	}
	if request.limit.RatePerSecond, err = decodeRate(fields); err != nil {
		return clientRequest{}, err
	}
	return request, nil
}

// decodeObject splits one JSON object into its fields. Unlike json.Unmarshal it matches names exactly and refuses
// duplicates (RFC 8259, section 4, leaves their meaning open).
func decodeObject(body []byte, known ...string) (map[string]json.RawMessage, error) {
	if err := checkSyntax(body); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if start, _ := decoder.Token(); start != json.Delim('{') {
		return nil, &fault{code: invalid, message: "the body is not an object; allowed is one JSON object"}
	}
	fields := make(map[string]json.RawMessage, len(known))
	for decoder.More() {
		name, value, err := decodeField(decoder)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(known, name) {
			return nil, &fault{code: invalid, field: shorten(name),
				message: fmt.Sprintf("the field %s is unknown; allowed are %q", quote(name), known)}
		}
		if _, found := fields[name]; found {
			return nil, &fault{code: invalid, field: name, message: fmt.Sprintf("the field %q is there twice", name)}
		}
		fields[name] = value
	}
	return fields, nil
}

// checkSyntax reports what keeps the body from being one JSON value with nothing behind it.
func checkSyntax(body []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(body, &value)
	if err == nil {
		return nil
	}
	message := fmt.Sprintf("the body is not JSON: %s", err)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		message = fmt.Sprintf("the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	}
	return &fault{code: malformed, message: message}
}

func decodeField(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err == nil {
		err = decoder.Decode(&value)
	}
	name, ok := token.(string)
	if err != nil || !ok {
		// checkSyntax has passed, so only the decoder's own bounds remain.
		return "", nil, &fault{code: malformed, message: "the body is not JSON that can be read", cause: err}
	}
	return name, value, nil
}

func decodeID(fields map[string]json.RawMessage) (netip.Prefix, error) {
	value, found := fields[fieldID]
	if !found {
		return netip.Prefix{}, nil
	}
	var text *string
	if err := json.Unmarshal(value, &text); err != nil || text == nil {
		return netip.Prefix{}, wrongValue(fieldID, shorten(string(value)), "a string: "+allowedID)
	}
	return parseID(fieldID, *text)
}

// decodeCapacity takes digits only: 1e2 and 100.0 are refused, for a fraction or an exponent in a count of tokens
// is more likely a slip than meant.
func decodeCapacity(fields map[string]json.RawMessage) (int64, error) {
	value, found := fields[fieldCapacity]
	if !found {
		return 0, missing(fieldCapacity)
	}
	capacity, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, wrongValue(fieldCapacity, shorten(string(value)),
			"a whole number from 1, in digits without fraction or exponent")
	}
	return capacity, nil
}

func decodeRate(fields map[string]json.RawMessage) (float64, error) {
	value, found := fields[fieldRate]
	if !found {
		return 0, missing(fieldRate)
	}
	var rate *float64
	if err := json.Unmarshal(value, &rate); err != nil || rate == nil {
		return 0, wrongValue(fieldRate, shorten(string(value)), "a number above 0")
	}
	return *rate, nil
}

func missing(field string) *fault {
	return &fault{code: invalid, field: field, message: fmt.Sprintf("the field %q is missing", field)}
}
