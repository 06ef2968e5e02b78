package clients

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// The fields of a client in JSON.
const (
	fieldAddress     = "ip_address"
	fieldName        = "name"
	fieldKey         = "api_key"
	fieldKeys        = "api_keys"
	fieldCapacity    = "capacity"
	fieldRate        = "rate_per_second"
	fieldMaxInFlight = "max_in_flight"
	fieldShadow      = "shadow"
	fieldTrial       = "trial"
	fieldPlan        = "plan"
	fieldLabels      = "labels"
	fieldExpires     = "expires_at"
	fieldEach        = "each"
	fieldBlocked     = "blocked"
	fieldCreated     = "created_at"
	fieldUpdated     = "updated_at"
)

var (
	// optionalFields may be null, which means the same as leaving them out.
	optionalFields = []string{fieldAddress, fieldName, fieldKey, fieldKeys, fieldMaxInFlight, fieldShadow, fieldTrial,
		fieldPlan, fieldLabels, fieldExpires, fieldEach, fieldBlocked}
	// clientFields includes the read-only fields, which are ignored, so that the response to a GET
	// can be sent back.
	clientFields = slices.Concat([]string{fieldCapacity, fieldRate}, optionalFields, []string{fieldCreated, fieldUpdated})
)

// decodeClient decodes the body of a POST or a PUT.
func decodeClient(body []byte) (draft, error) {
	o, err := rest.ParseObject(body, clientFields...)
	if err != nil {
		return draft{}, err
	}
	return decodeDraft(o)
}

func decodeDraft(o rest.Object) (d draft, err error) {
	o.DropNulls(optionalFields...)
	if d.id, err = decodeID(o); err != nil {
		return draft{}, err
	}
	if d.keys, err = decodeKeys(o); err != nil {
		return draft{}, err
	}
	if d.plan, err = decodePlan(o); err != nil {
		return draft{}, err
	}
	if d.own, err = decodeTerms(o, d.plan != ""); err != nil {
		return draft{}, err
	}
	if d.labels, err = decodeLabels(o); err != nil {
		return draft{}, err
	}
	d.expiresAt, err = decodeTime(o, fieldExpires)
	return d, err
}

// checkNew returns a fault unless the body of a POST identifies a client.
func checkNew(d draft) error {
	switch {
	case d.keys != nil && d.id.Name == "":
		return keyWithoutName()
	case d.id == (limiter.ID{}):
		return &rest.Fault{Code: rest.Invalid, Field: fieldAddress,
			Message: fmt.Sprintf("the field %q is missing, and so is %q; allowed is one of the two", fieldAddress, fieldName)}
	}
	return nil
}

// checkChange returns a fault if the body of a PUT or PATCH does not match the client in the path.
func checkChange(d draft, path limiter.ID) error {
	if d.id != (limiter.ID{}) && d.id != path {
		return rest.Wrong(identityField(d.id), rest.Quote(d.id.String()), fmt.Sprintf("the client of the path, %s", path))
	}
	return nil
}

func keyWithoutName() *rest.Fault {
	return &rest.Fault{Code: rest.Invalid, Field: fieldKey,
		Message: fmt.Sprintf("%s is set for a client without name; only one with a %s has it", fieldKey, fieldName)}
}

// identityField returns the name of the field that identifies the client.
func identityField(id limiter.ID) string {
	if id.Name != "" {
		return fieldName
	}
	return fieldAddress
}

func decodeID(o rest.Object) (limiter.ID, error) {
	_, hasAddress := o.Value(fieldAddress)
	_, hasName := o.Value(fieldName)
	switch {
	case hasAddress && hasName:
		return limiter.ID{}, &rest.Fault{Code: rest.Invalid, Field: fieldName,
			Message: fmt.Sprintf("%s and %s are both set; allowed is one of the two", fieldName, fieldAddress)}
	case hasAddress:
		prefix, err := decodeAddress(o)
		return limiter.ID{Prefix: prefix}, err
	case hasName:
		text, ok := o.Text(fieldName)
		if !ok || !store.IsName(text) {
			return limiter.ID{}, o.Wrong(fieldName, "a string of "+allowedName)
		}
		return limiter.ID{Name: text}, nil
	}
	return limiter.ID{}, nil
}

func decodeAddress(o rest.Object) (netip.Prefix, error) {
	text, ok := o.Text(fieldAddress)
	if !ok {
		return netip.Prefix{}, o.Wrong(fieldAddress, "a string: "+allowedAddress)
	}
	return parseAddress(fieldAddress, text, allowedAddress)
}

// decodeTerms decodes the terms of a client. With a plan, the limit may be left out or be partly
// the client's own.
func decodeTerms(o rest.Object, planned bool) (t limiter.Terms, err error) {
	if t.Blocked, err = decodeBool(o, fieldBlocked); err != nil {
		return limiter.Terms{}, err
	}
	if t.Limit, err = decodeOwnLimit(o, planned || t.Blocked); err != nil {
		return limiter.Terms{}, err
	}
	if t.MaxInFlight, err = decodeMaxInFlight(o); err != nil {
		return limiter.Terms{}, err
	}
	if t.Shadow, err = decodeBool(o, fieldShadow); err != nil {
		return limiter.Terms{}, err
	}
	if t.Each, err = decodeBool(o, fieldEach); err != nil {
		return limiter.Terms{}, err
	}
	t.Trial, err = decodeTrial(o)
	return t, err
}

// decodeOwnLimit decodes the limit of a client, both of whose parts may be left out or null if
// optional.
func decodeOwnLimit(o rest.Object, optional bool) (l limiter.Limit, err error) {
	if !optional {
		return decodeLimit(o)
	}
	o.DropNulls(fieldCapacity, fieldRate)
	if _, found := o.Value(fieldCapacity); found {
		if l.Capacity, err = decodeCapacity(o); err != nil {
			return limiter.Limit{}, err
		}
		if l.Capacity == 0 { // zero stands for the plan's
			return limiter.Limit{}, o.Wrong(fieldCapacity, allowedCapacity())
		}
	}
	if _, found := o.Value(fieldRate); found {
		if l.RatePerSecond, err = decodeRate(o); err != nil {
			return limiter.Limit{}, err
		}
		if l.RatePerSecond == 0 {
			return limiter.Limit{}, rest.Wrong(o.Path(fieldRate), "0", allowedRate())
		}
	}
	return l, nil
}

func decodeLimit(o rest.Object) (l limiter.Limit, err error) {
	if l.Capacity, err = decodeCapacity(o); err != nil {
		return limiter.Limit{}, err
	}
	l.RatePerSecond, err = decodeRate(o)
	return l, err
}

func allowedCapacity() string {
	_, allowed, _ := limiter.Limit{}.Check()
	return allowed
}

func allowedRate() string {
	_, allowed, _ := limiter.Limit{Capacity: 1}.Check()
	return allowed
}

// decodeCapacity accepts digits only: it refuses 1e2 and 100.0, because a fraction or an exponent
// in a number of tokens is likely a mistake.
func decodeCapacity(o rest.Object) (int64, error) {
	value, found := o.Value(fieldCapacity)
	if !found {
		return 0, o.Missing(fieldCapacity)
	}
	capacity, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, o.Wrong(fieldCapacity, allowedCapacity()+", in digits without fraction or exponent")
	}
	return capacity, nil
}

func decodeRate(o rest.Object) (float64, error) {
	value, found := o.Value(fieldRate)
	if !found {
		return 0, o.Missing(fieldRate)
	}
	rate, err := strconv.ParseFloat(string(value), 64) // of JSON, so neither NaN nor in hexadecimal
	if err != nil {
		return 0, o.Wrong(fieldRate, allowedRate())
	}
	return rate, nil
}

// decodeMaxInFlight refuses 0, which means no bound to the limiter but reads as if no requests were
// allowed.
func decodeMaxInFlight(o rest.Object) (int64, error) {
	value, found := o.Value(fieldMaxInFlight)
	if !found {
		return 0, nil
	}
	most, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || most < 1 || most > limiter.MaxInFlight {
		return 0, o.Wrong(fieldMaxInFlight,
			fmt.Sprintf("a whole number from 1 to %d, in digits without fraction or exponent, or null for no bound", limiter.MaxInFlight))
	}
	return most, nil
}

func decodeBool(o rest.Object, field string) (bool, error) {
	value, found := o.Value(field)
	if !found {
		return false, nil
	}
	decoded, err := strconv.ParseBool(string(value))
	if err != nil || string(value) != strconv.FormatBool(decoded) { // ParseBool accepts 1 and 0
		return false, o.Wrong(field, "true or false")
	}
	return decoded, nil
}

func decodeTrial(o rest.Object) (limiter.Limit, error) {
	if _, found := o.Value(fieldTrial); !found {
		return limiter.Limit{}, nil
	}
	trial, err := o.Object(fieldTrial, fieldCapacity, fieldRate)
	if err != nil {
		return limiter.Limit{}, err
	}
	limit, err := decodeLimit(trial)
	if err == nil && limit == (limiter.Limit{}) { // the zero Limit means no trial
		field, allowed, _ := limit.Check()
		err = rest.Wrong(trial.Path(field), "0", allowed)
	}
	return limit, err
}

func decodePlan(o rest.Object) (string, error) {
	if _, found := o.Value(fieldPlan); !found {
		return "", nil
	}
	name, ok := o.Text(fieldPlan)
	if !ok || !store.IsName(name) {
		return "", o.Wrong(fieldPlan, "the name of a plan, which has "+allowedName)
	}
	return name, nil
}

// decodeTime decodes an optional time.
func decodeTime(o rest.Object, field string) (time.Time, error) {
	if _, found := o.Value(field); !found {
		return time.Time{}, nil
	}
	text, ok := o.Text(field)
	at, err := time.Parse(time.RFC3339Nano, text)
	at = at.UTC() // whose year may be another one
	if !ok || err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return time.Time{}, o.Wrong(field, "a time of RFC 3339 from 1970 on, such as 2027-01-31T12:00:00Z")
	}
	return at.Truncate(time.Microsecond), nil
}

// decodeLabels decodes the labels, or returns nil without any.
func decodeLabels(o rest.Object) (map[string]string, error) {
	if _, found := o.Value(fieldLabels); !found {
		return nil, nil
	}
	labels, err := o.Texts(fieldLabels)
	if err != nil || len(labels) == 0 {
		return nil, err
	}
	if len(labels) > store.MaxLabels {
		return nil, rest.Wrong(fieldLabels, fmt.Sprintf("an object with %d fields", len(labels)), fmt.Sprintf("at most %d", store.MaxLabels))
	}
	for name, value := range labels {
		if !isLabelName(name) {
			return nil, rest.Wrong(fieldLabels, "an object with the field "+rest.Quote(name), allowedLabelName)
		}
		if len(value) > store.MaxLabel || hasControl(value) {
			return nil, rest.Wrong(fieldLabels+"."+name, rest.Quote(value), allowedLabel)
		}
	}
	return labels, nil
}

var (
	allowedLabelName = fmt.Sprintf("names of 1 to %d letters, digits and characters of ._/-", store.MaxLabel)
	allowedLabel     = fmt.Sprintf("a string of at most %d bytes without control characters", store.MaxLabel)
)

func isLabelName(name string) bool {
	if len(name) == 0 || len(name) > store.MaxLabel {
		return false
	}
	return !slices.ContainsFunc([]byte(name), func(b byte) bool {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '.', b == '_', b == '/', b == '-':
			return false
		}
		return true
	})
}

func hasControl(text string) bool {
	return slices.ContainsFunc([]byte(text), func(b byte) bool { return b < ' ' || b == 0x7f })
}

// parseDigest parses the SHA-256 of a key in hexadecimal.
func parseDigest(text string) (d limiter.KeyDigest, ok bool) {
	decoded, err := hex.DecodeString(text)
	return limiter.KeyDigest(append(decoded, make([]byte, len(d))...)), err == nil && len(decoded) == len(d) && limiter.KeyDigest(decoded) != limiter.KeyDigest{}
}
