package store

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"loadbalancer/limiter"
)

// fillIn sets all fields below a value to something other than zero.
func fillIn(t *testing.T, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.UnixMicro(rand.Int64N(1 << 50)).UTC()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fillIn(t, v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fillIn(t, v.Index(i))
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fillIn(t, v.Index(i))
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b", "c": ""}))
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint(rand.Int()))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1 + rand.Int64())
	case v.CanUint():
		v.SetUint(1 + rand.Uint64N(250))
	case v.CanFloat():
		v.SetFloat(rand.Float64())
	default:
		t.Fatalf("a field is %s", v.Type())
	}
}

// TestRecordsHaveEveryField fails for a field that is added and not kept.
func TestRecordsHaveEveryField(t *testing.T) {
	for range 10 {
		var keys []Key
		var own limiter.Terms
		c := Client{ID: idOf("a"), Plan: "p", Labels: map[string]string{"x": "y"}, CreatedAt: time.UnixMicro(-7).UTC(), UpdatedAt: time.UnixMicro(0).UTC(), ExpiresAt: time.UnixMicro(1).UTC(), Version: 9}
		fillIn(t, reflect.ValueOf(&keys).Elem())
		fillIn(t, reflect.ValueOf(&own).Elem())
		c.Keys, c.Own = keys, own
		payload := appendClient(nil, &c)
		if got, err := readClient(c.ID, payload); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, %v, want %+v", got, err, c)
		}
		plan, overrides, err := planOf(payload)
		if string(plan) != "p" || !overrides || err != nil {
			t.Errorf("the plan is %q, %v, %v", plan, overrides, err)
		}
		var p Plan
		fillIn(t, reflect.ValueOf(&p).Elem())
		if got, err := readPlan(p.Name, appendPlan(nil, &p)); err != nil || got != p {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
		var e Entry
		fillIn(t, reflect.ValueOf(&e).Elem())
		if got, err := readEntry(e.ID, appendEntry(nil, &e)); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got %+v, %v, want %+v", got, err, e)
		}
		var r Reply
		fillIn(t, reflect.ValueOf(&r).Elem())
		if got, err := readReply(r.Key, appendReply(nil, &r)); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v, %v, want %+v", got, err, r)
		}
		for n := range payload { // none panics, and none but the whole is a client
			if _, err := readClient(c.ID, payload[:n]); err == nil {
				t.Errorf("%d of %d bytes are a client", n, len(payload))
			}
		}
	}
}

// TestASealHoldsItsPlace checks that a value is of no other bucket and no other key.
func TestASealHoldsItsPlace(t *testing.T) {
	value := seal(clientsBucket, []byte("na"), []byte{0, 'x'})
	for _, c := range []struct {
		bucket, key string
		value       []byte
		want        bool
	}{
		{clientsBucket, "na", value, true},
		{plansBucket, "na", value, false},
		{clientsBucket, "nb", value, false},
		{clientsBucket, "na", value[:len(value)-1], false},
		{clientsBucket, "na", append([]byte{2}, value[1:]...), false},
		{clientsBucket, "na", nil, false},
	} {
		if payload, err := unseal(c.bucket, []byte(c.key), c.value); (err == nil) != c.want || c.want && string(payload) != "x" {
			t.Errorf("%s %s: %q, %v", c.bucket, c.key, payload, err)
		}
	}
}

func TestKeyIndex(t *testing.T) {
	x, want := newKeyIndex(), map[keyPrefix]string{}
	for i := range 300_000 {
		digest := testDigest(rand.IntN(3000))
		k, client := prefixOf(&digest), fmt.Sprintf("%0100d", i)
		if rand.IntN(3) == 0 {
			client = ""
		}
		x.set(k, client)
		if want[k] = client; client == "" {
			delete(want, k)
		}
	}
	if len(x.at) != len(want) || len(x.keys) > 4<<20 {
		t.Errorf("%d keys in %d bytes, want %d", len(x.at), len(x.keys), len(want))
	}
	for k, client := range want {
		if got := string(x.holder(k)); got != client {
			t.Errorf("got %q, want %q", got, client)
		}
	}
}
