package limiter

import "testing"

func TestTermsCheck(t *testing.T) {
	good := Limit{5, 1}
	for _, test := range []struct {
		terms Terms
		field string // "": it may be
	}{
		{Terms{Limit: good}, ""},
		{Terms{Limit: good, MaxInFlight: MaxInFlight, Shadow: true, Trial: Limit{1, 0.5}}, ""},
		{Terms{Limit: Limit{0, 1}}, "capacity"},
		{Terms{Limit: Limit{5, 0}}, "rate_per_second"},
		{Terms{Limit: good, MaxInFlight: -1}, "max_in_flight"},
		{Terms{Limit: good, MaxInFlight: MaxInFlight + 1}, "max_in_flight"},
		{Terms{Limit: good, Trial: Limit{0, 1}}, "trial.capacity"},
		{Terms{Limit: good, Trial: Limit{5, 0}}, "trial.rate_per_second"},
	} {
		field, allowed, ok := test.terms.Check()
		if field != test.field || ok != (test.field == "") || ok != (allowed == "") {
			t.Errorf("%+v: %q, %q, %v; want the field %q", test.terms, field, allowed, ok, test.field)
		}
	}
}
