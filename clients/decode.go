package clients

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"loadbalancer/limiter"
)

// The fields of a client in JSON.
const (
	fieldAddress     = "ip_address"
	fieldName        = "name"
	fieldKey         = "api_key"
	fieldCapacity    = "capacity"
	fieldRate        = "rate_per_second"
	fieldMaxInFlight = "max_in_flight"
	fieldShadow      = "shadow"
	fieldTrial       = "trial"
	fieldCreated     = "created_at"
	fieldUpdated     = "updated_at"
)

var (
	// optionalFields may be null, which is as if they were left out.
	optionalFields = []string{fieldAddress, fieldName, fieldKey, fieldMaxInFlight, fieldShadow, fieldTrial}
	// clientFields includes those that are only shown: what GET returned can be sent back, and they are
	// ignored.
	clientFields = slices.Concat([]string{fieldCapacity, fieldRate}, optionalFields, []string{fieldCreated, fieldUpdated})
)

// decodeClient reads the body of a POST or a PUT. The ID and the key are zero where the body has none.
func decodeClient(body []byte) (limiter.Registration, error) {
	if err := checkSyntax(body); err != nil {
		return limiter.Registration{}, err
	}
	o, err := decodeObject("", body, clientFields...)
	if err != nil {
		return limiter.Registration{}, err
	}
	o.dropNulls(optionalFields)
	var r limiter.Registration
	if r.ID, err = o.decodeID(); err != nil {
		return limiter.Registration{}, err
	}
	if r.Key, err = o.decodeKey(); err != nil {
		return limiter.Registration{}, err
	}
	r.Terms, err = o.decodeTerms()
	return r, err
}

// checkNew reports what keeps the body of a POST from saying who the client is.
func checkNew(r limiter.Registration) error {
	hasKey := r.Key != (limiter.KeyDigest{})
	switch {
	case hasKey && r.ID.Name == "":
		return keyWithoutName()
	case r.ID == (limiter.ID{}):
		return &fault{code: invalid, field: fieldAddress,
			message: fmt.Sprintf("the field %q is missing, and so is %q; allowed is one of the two", fieldAddress, fieldName)}
	case !hasKey && r.ID.Name != "":
		return missing(fieldKey)
	}
	return nil
}

// checkChange reports what keeps the body of a PUT from being about the client of its path.
func checkChange(r limiter.Registration, path limiter.ID) error {
	switch {
	case r.ID != (limiter.ID{}) && r.ID != path:
		return wrongValue(identityField(r.ID), quote(r.ID.String()), fmt.Sprintf("the client of the path, %s", path))
	case r.Key != (limiter.KeyDigest{}) && path.Name == "":
		return keyWithoutName()
	}
	return nil
}

func keyWithoutName() *fault {
	return &fault{code: invalid, field: fieldKey,
		message: fmt.Sprintf("%s is set for a client without name; only one with a %s has it", fieldKey, fieldName)}
}

// identityField names the field that says who the client is.
func identityField(id limiter.ID) string {
	if id.Name != "" {
		return fieldName
	}
	return fieldAddress
}

func (o object) decodeID() (limiter.ID, error) {
	_, hasAddress := o.fields[fieldAddress]
	_, hasName := o.fields[fieldName]
	switch {
	case hasAddress && hasName:
		return limiter.ID{}, &fault{code: invalid, field: fieldName,
			message: fmt.Sprintf("%s stands beside %s; allowed is one of the two", fieldName, fieldAddress)}
	case hasAddress:
		prefix, err := o.decodeAddress()
		return limiter.ID{Prefix: prefix}, err
	case hasName:
		text, ok := o.decodeString(fieldName)
		if !ok || !isName(text) {
			return limiter.ID{}, wrongValue(fieldName, shorten(string(o.fields[fieldName])), "a string of "+allowedName)
		}
		return limiter.ID{Name: text}, nil
	}
	return limiter.ID{}, nil
}

func (o object) decodeAddress() (netip.Prefix, error) {
	text, ok := o.decodeString(fieldAddress)
	if !ok {
		return netip.Prefix{}, wrongValue(fieldAddress, shorten(string(o.fields[fieldAddress])), "a string: "+allowedAddress)
	}
	return parseAddress(fieldAddress, text, allowedAddress)
}

// decodeKey never tells what the key is.
func (o object) decodeKey() (limiter.KeyDigest, error) {
	if _, found := o.fields[fieldKey]; !found {
		return limiter.KeyDigest{}, nil
	}
	text, ok := o.decodeString(fieldKey)
	if !ok {
		return limiter.KeyDigest{}, wrongValue(fieldKey, "no string", allowedKey)
	}
	if !isKey(text) {
		return limiter.KeyDigest{}, wrongValue(fieldKey, fmt.Sprintf("a string of %d bytes that cannot be a key", len(text)), allowedKey)
	}
	return limiter.DigestKey([]byte(text)), nil
}

func (o object) decodeTerms() (t limiter.Terms, err error) {
	if t.Limit, err = o.decodeLimit(); err != nil {
		return limiter.Terms{}, err
	}
	if t.MaxInFlight, err = o.decodeMaxInFlight(); err != nil {
		return limiter.Terms{}, err
	}
	if t.Shadow, err = o.decodeShadow(); err != nil {
		return limiter.Terms{}, err
	}
	t.Trial, err = o.decodeTrial()
	return t, err
}

func (o object) decodeLimit() (l limiter.Limit, err error) {
	if l.Capacity, err = o.decodeCapacity(); err != nil {
		return limiter.Limit{}, err
	}
	l.RatePerSecond, err = o.decodeRate()
	return l, err
}

// decodeCapacity takes digits only: 1e2 and 100.0 are refused, for a fraction or an exponent in a count of tokens
// is more likely a slip than meant.
func (o object) decodeCapacity() (int64, error) {
	value, found := o.fields[fieldCapacity]
	if !found {
		return 0, missing(o.within(fieldCapacity))
	}
	capacity, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		_, allowed, _ := limiter.Limit{}.Check()
		return 0, wrongValue(o.within(fieldCapacity), shorten(string(value)),
			allowed+", in digits without fraction or exponent")
	}
	return capacity, nil
}

func (o object) decodeRate() (float64, error) {
	value, found := o.fields[fieldRate]
	if !found {
		return 0, missing(o.within(fieldRate))
	}
	var rate *float64
	if err := json.Unmarshal(value, &rate); err != nil || rate == nil {
		_, allowed, _ := limiter.Limit{Capacity: 1}.Check()
		return 0, wrongValue(o.within(fieldRate), shorten(string(value)), allowed)
	}
	return *rate, nil
}

// decodeMaxInFlight refuses 0, which means no bound to the limiter, and none at all to who reads it.
func (o object) decodeMaxInFlight() (int64, error) {
	value, found := o.fields[fieldMaxInFlight]
	if !found {
		return 0, nil
	}
	most, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || most < 1 || most > limiter.MaxInFlight {
		return 0, wrongValue(fieldMaxInFlight, shorten(string(value)),
			fmt.Sprintf("a whole number from 1 to %d, in digits without fraction or exponent, or null for no bound", limiter.MaxInFlight))
	}
	return most, nil
}

func (o object) decodeShadow() (bool, error) {
	value, found := o.fields[fieldShadow]
	if !found {
		return false, nil
	}
	shadow, err := strconv.ParseBool(string(value))
	if err != nil || string(value) != strconv.FormatBool(shadow) { // 1 and 0 are no booleans in JSON
		return false, wrongValue(fieldShadow, shorten(string(value)), "true or false")
	}
	return shadow, nil
}

func (o object) decodeTrial() (limiter.Limit, error) {
	value, found := o.fields[fieldTrial]
	if !found {
		return limiter.Limit{}, nil
	}
	trial, err := decodeObject(fieldTrial, value, fieldCapacity, fieldRate)
	if err != nil {
		return limiter.Limit{}, err
	}
	limit, err := trial.decodeLimit()
	if err == nil && limit == (limiter.Limit{}) { // to the limiter this is none
		field, allowed, _ := limit.Check()
		err = wrongValue(trial.within(field), "0", allowed)
	}
	return limit, err
}

func (o object) decodeString(field string) (text string, ok bool) {
	var decoded *string
	if err := json.Unmarshal(o.fields[field], &decoded); err != nil || decoded == nil {
		return "", false
	}
	return *decoded, true
}

func missing(field string) *fault {
	return &fault{code: invalid, field: field, message: fmt.Sprintf("the field %q is missing", field)}
}
