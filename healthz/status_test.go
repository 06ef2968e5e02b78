package healthz

import "testing"

func TestStatuses(t *testing.T) {
	tests := []struct {
		text, want string
		has, not   []int
	}{
		{"200-399", "200-399", []int{200, 204, 301, 399}, []int{0, 101, 199, 400, 599}},
		{"200", "200", []int{200}, []int{201, 264}},
		{"200,204,301-302", "200,204,301-302", []int{200, 204, 301, 302}, []int{201, 203, 205, 300, 303}},
		{" 301 - 302 , 200", "200,301-302", []int{200, 301, 302}, []int{303}},
		{"200,201,202,202", "200-202", []int{200, 201, 202}, []int{203}},
		{"401,999", "401,999", []int{401, 999}, []int{998, 1000, 1024, -1}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			var s, again Statuses
			if err := s.UnmarshalText([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			if got := s.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
				t.Errorf("%s is read as %s (%v)", s, again, err)
			}
			for _, code := range tt.has {
				if !s.Has(code) {
					t.Errorf("has no %d", code)
				}
			}
			for _, code := range tt.not {
				if s.Has(code) {
					t.Errorf("has %d", code)
				}
			}
		})
	}
}

func TestStatusesInvalid(t *testing.T) {
	for _, text := range []string{"", " ", "199", "1000", "0200", "2xx", "ok", "200,", ",200", "200-", "-200", "300-200", "200-250-299", "200;204", "+20", "200 204"} {
		s := anySuccess()
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %s", text, s)
		}
		if s != anySuccess() {
			t.Errorf("%q has changed the set to %s", text, s)
		}
	}
}
