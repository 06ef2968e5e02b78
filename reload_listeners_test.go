package main

import (
	"strings"
	"testing"
)

// TestReloadOfUsedAddresses exchanges the two addresses, and moves one to the other's: as long as
// this process listens on them that needs a restart, which the answer says, with the keys' names.
func TestReloadOfUsedAddresses(t *testing.T) {
	addresses := freeAddresses(t, 4)
	front, back := addresses[1], addresses[2]
	in := startInstance(t, testConfig(t, addresses[:1], "server:\n  listen: "+front+"\nmanagement:\n  listen: "+back+"\n"))
	for _, test := range []struct {
		name string
		edit []string
		want string
	}{
		{"exchanged", []string{"listen: " + front, "listen: new", "listen: " + back, "listen: " + front, "listen: new", "listen: " + back},
			".yaml:4: server.listen: " + front + " → " + back + " is an address that this process listens on: this change needs a restart"},
		{"moved along", []string{"listen: " + front, "listen: " + addresses[3], "listen: " + back, "listen: " + front},
			".yaml:6: management.listen: " + back + " → " + front + " is an address that this process listens on: this change needs a restart"},
		{"in another form", []string{"listen: " + front, "listen: '[::ffff:127.0.0.1]" + strings.TrimPrefix(front, "127.0.0.1") + "'"},
			"is an address that this process listens on: this change needs a restart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in.edit(t, test.edit...)
			if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 || !strings.Contains(a.body, test.want) {
				t.Errorf("got %+v, want %q in it", a, test.want)
			}
			for i := len(test.edit) - 2; i >= 0; i -= 2 {
				in.edit(t, test.edit[i+1], test.edit[i])
			}
		})
	}
}
