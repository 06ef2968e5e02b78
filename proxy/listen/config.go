package listen

// Config is the listener's part of the server section.
type Config struct {
	Listen   Address `yaml:"listen"`
	UnixMode Mode    `yaml:"unix_mode"` // of the socket, if listen is one
}

// DefaultConfig listens on port 8080 of all addresses.
func DefaultConfig() Config {
	return Config{Listen: Address{":8080"}, UnixMode: 0o666}
}

// Validate calls wrong once for each fault, with its path below server.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	if c.Listen.IsZero() {
		wrong("listen", "", AllowedAddress)
	}
}
