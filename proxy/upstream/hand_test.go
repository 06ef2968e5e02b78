package upstream

import (
	"encoding/json"
	"testing"
	"time"
)

func TestSetting(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	weight := func(now, instead int) Setting { return Setting{Weight: &Weight{now, instead}} }
	drained := Setting{Drained: at(10), Until: at(40)}
	for _, test := range []struct {
		name      string
		s         Setting
		config    int // the weight in it
		weight    int
		overtaken bool
		json      string
	}{
		{"nothing", Setting{}, 3, 3, false, `{}`},
		{"a weight", weight(5, 3), 3, 5, false, `{"weight":{"now":5,"instead_of":3}}`},
		{"a weight of 0", weight(0, 3), 3, 0, false, `{"weight":{"now":0,"instead_of":3}}`},
		{"another weight in the config", weight(5, 3), 4, 4, true, `{"weight":{"now":5,"instead_of":3}}`},
		{"the same weight in the config", weight(5, 3), 5, 5, true, `{"weight":{"now":5,"instead_of":3}}`},
		{"weighed", Setting{}.weigh(5, 3), 3, 5, false, `{"weight":{"now":5,"instead_of":3}}`},
		{"weighed again", weight(5, 3).weigh(7, 3), 3, 7, false, `{"weight":{"now":7,"instead_of":3}}`},
		{"weighed as the config", weight(5, 3).weigh(3, 3), 3, 3, false, `{}`},
		{"drained", Setting{}.drain(at(10), time.Time{}), 1, 1, false, `{"drained_at":"1970-01-01T00:00:10Z"}`},
		{"drained until", Setting{}.drain(at(10), at(40)), 1, 1, false, `{"drained_at":"1970-01-01T00:00:10Z","sticky_until":"1970-01-01T00:00:40Z"}`},
		{"drained again", drained.drain(at(20), at(50)), 1, 1, false, `{"drained_at":"1970-01-01T00:00:10Z","sticky_until":"1970-01-01T00:00:50Z"}`},
		{"drained and weighed", drained.weigh(0, 1), 1, 0, false, `{"drained_at":"1970-01-01T00:00:10Z","sticky_until":"1970-01-01T00:00:40Z","weight":{"now":0,"instead_of":1}}`},
		{"resumed", drained.weigh(0, 1).resume(), 1, 0, false, `{"weight":{"now":0,"instead_of":1}}`},
	} {
		if got := test.s.weight(test.config); got != test.weight || test.s.isOvertaken(test.config) != test.overtaken {
			t.Errorf("%s: the weight is %d, want %d; overtaken is %v", test.name, got, test.weight, !test.overtaken)
		}
		text, err := json.Marshal(test.s)
		var read Setting
		if err != nil || string(text) != test.json || json.Unmarshal(text, &read) != nil || read.isZero() != (test.json == "{}") {
			t.Errorf("%s: kept as %s (%v), want %s", test.name, text, err, test.json)
		}
	}
	for second, want := range map[int64]bool{10: true, 39: true, 40: false, 41: false} {
		if drained.keepsClients(at(second)) != want {
			t.Errorf("at second %d, that clients stay until 40 is %v", second, !want)
		}
	}
	if !(Setting{Drained: at(10)}).keepsClients(at(1e9)) {
		t.Error("without a timeout, clients move")
	}
}
