package listen

import (
	"errors"
	"fmt"
	"strconv"

	"gopkg.in/yaml.v3"
)

// Mode holds the permissions of a unix socket's file.
type Mode uint32

// String returns the permissions in four octal digits.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// UnmarshalYAML parses octal digits, with or without quotes: YAML would read 666 as a decimal
// number.
func (m *Mode) UnmarshalYAML(n *yaml.Node) error {
	v, err := strconv.ParseUint(n.Value, 8, 32)
	if n.Kind != yaml.ScalarNode || len(n.Value) < 3 || len(n.Value) > 4 || err != nil || v > 0o777 {
		return errors.New("permissions in 3 or 4 octal digits up to 0777, such as 0666 or 660")
	}
	*m = Mode(v)
	return nil
}
