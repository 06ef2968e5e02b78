package clients

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"loadbalancer/clients/rest"
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
	// optionalFields may be null, which means the same as leaving them out.
	optionalFields = []string{fieldAddress, fieldName, fieldKey, fieldMaxInFlight, fieldShadow, fieldTrial}
	// clientFields includes the read-only fields, which are ignored, so that the response to a GET
	// can be sent back.
	clientFields = slices.Concat([]string{fieldCapacity, fieldRate}, optionalFields, []string{fieldCreated, fieldUpdated})
)

// decodeClient decodes the body of a POST or a PUT. The ID and the key are zero if the body lacks
// them.
func decodeClient(body []byte) (limiter.Registration, error) {
	o, err := rest.ParseObject(body, clientFields...)
	if err != nil {
		return limiter.Registration{}, err
	}
	o.DropNulls(optionalFields...)
	var r limiter.Registration
	if r.ID, err = decodeID(o); err != nil {
		return limiter.Registration{}, err
	}
	if r.Keys[0], err = decodeKey(o); err != nil {
		return limiter.Registration{}, err
	}
	r.Terms, err = decodeTerms(o)
	return r, err
}

// checkNew returns a fault unless the body of a POST identifies a client, and has a key if and only
// if it has a name.
func checkNew(r limiter.Registration) error {
	hasKey := r.Keys[0] != (limiter.KeyDigest{})
	switch {
	case hasKey && r.ID.Name == "":
		return keyWithoutName()
	case r.ID == (limiter.ID{}):
		return &rest.Fault{Code: rest.Invalid, Field: fieldAddress,
			Message: fmt.Sprintf("the field %q is missing, and so is %q; allowed is one of the two", fieldAddress, fieldName)}
	case !hasKey && r.ID.Name != "":
		return rest.Missing(fieldKey)
	}
	return nil
}

// checkChange returns a fault if the body of a PUT does not match the client in the path.
func checkChange(r limiter.Registration, path limiter.ID) error {
	switch {
	case r.ID != (limiter.ID{}) && r.ID != path:
		return rest.Wrong(identityField(r.ID), rest.Quote(r.ID.String()), fmt.Sprintf("the client of the path, %s", path))
	case r.Keys[0] != (limiter.KeyDigest{}) && path.Name == "":
		return keyWithoutName()
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
			Message: fmt.Sprintf("%s stands beside %s; allowed is one of the two", fieldName, fieldAddress)}
	case hasAddress:
		prefix, err := decodeAddress(o)
		return limiter.ID{Prefix: prefix}, err
	case hasName:
		text, ok := o.Text(fieldName)
		if !ok || !isName(text) {
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

// decodeKey decodes the API key. Its errors never contain the key.
func decodeKey(o rest.Object) (limiter.KeyDigest, error) {
	if _, found := o.Value(fieldKey); !found {
		return limiter.KeyDigest{}, nil
	}
	text, ok := o.Text(fieldKey)
	if !ok {
		return limiter.KeyDigest{}, rest.Wrong(fieldKey, "no string", allowedKey)
	}
	if !isKey(text) {
		return limiter.KeyDigest{}, rest.Wrong(fieldKey, fmt.Sprintf("a string of %d bytes that cannot be a key", len(text)), allowedKey)
	}
	return limiter.DigestKey([]byte(text)), nil
}

func decodeTerms(o rest.Object) (t limiter.Terms, err error) {
	if t.Limit, err = decodeLimit(o); err != nil {
		return limiter.Terms{}, err
	}
	if t.MaxInFlight, err = decodeMaxInFlight(o); err != nil {
		return limiter.Terms{}, err
	}
	if t.Shadow, err = decodeShadow(o); err != nil {
		return limiter.Terms{}, err
	}
	t.Trial, err = decodeTrial(o)
	return t, err
}

func decodeLimit(o rest.Object) (l limiter.Limit, err error) {
	if l.Capacity, err = decodeCapacity(o); err != nil {
		return limiter.Limit{}, err
	}
	l.RatePerSecond, err = decodeRate(o)
	return l, err
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
		_, allowed, _ := limiter.Limit{}.Check()
		return 0, o.Wrong(fieldCapacity, allowed+", in digits without fraction or exponent")
	}
	return capacity, nil
}

func decodeRate(o rest.Object) (float64, error) {
	value, found := o.Value(fieldRate)
	if !found {
		return 0, o.Missing(fieldRate)
	}
	var rate *float64
	if err := json.Unmarshal(value, &rate); err != nil || rate == nil {
		_, allowed, _ := limiter.Limit{Capacity: 1}.Check()
		return 0, o.Wrong(fieldRate, allowed)
	}
	return *rate, nil
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

func decodeShadow(o rest.Object) (bool, error) {
	value, found := o.Value(fieldShadow)
	if !found {
		return false, nil
	}
	shadow, err := strconv.ParseBool(string(value))
	if err != nil || string(value) != strconv.FormatBool(shadow) { // ParseBool accepts 1 and 0
		return false, o.Wrong(fieldShadow, "true or false")
	}
	return shadow, nil
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
