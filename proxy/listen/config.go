package listen

// Config is the listener's part of the server section.
type Config struct {
	Listen   Address   `yaml:"listen"`
	UnixMode Mode      `yaml:"unix_mode"` // of the socket, if listen is one
	TLS      TLSConfig `yaml:"tls"`
}

// DefaultConfig listens on port 8080 of all addresses.
func DefaultConfig() Config {
	return Config{Listen: Address{":8080"}, UnixMode: 0o666, TLS: DefaultTLSConfig()}
}

// Validate calls wrong once for each fault, with its path below server.
func (c Config) Validate(wrong func(path string, value any, allowed string)) {
	if c.Listen.IsZero() {
		wrong("listen", "", AllowedAddress)
	}
	if !c.TLS.Listen.IsZero() && c.TLS.Listen.Overlaps(c.Listen) {
		wrong("tls.listen", c.TLS.Listen, `another address than server.listen, or "" for TLS on server.listen itself`)
	}
	switch from := c.TLS.RedirectFrom; {
	case from.IsZero():
	case from.Overlaps(c.Listen):
		wrong("tls.redirect_from", from, "another address than server.listen, which is "+c.Listen.String())
	case from.Overlaps(c.TLS.Listen):
		wrong("tls.redirect_from", from, "another address than server.tls.listen, which is "+c.TLS.Listen.String())
	}
	c.TLS.Validate(func(path string, value any, allowed string) { wrong("tls."+path, value, allowed) })
}
