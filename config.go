package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/limiter/shared"
	"loadbalancer/management"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// config is the whole file, composed of each package's part.
type config struct {
	Server     serverConfig                   `yaml:"server"`
	Management management.Config              `yaml:"management"`
	Pools      map[string]upstream.PoolConfig `yaml:"pools"`
	Routes     []routes.Config                `yaml:"routes"`
	Limiter    limiterConfig                  `yaml:"limiter"`
	Clients    clients.Config                 `yaml:"clients"`
	Log        logConfig                      `yaml:"log"`
}

// serverConfig joins the listener and the settings of its connections.
type serverConfig struct {
	proxy.ServerConfig `yaml:",inline"`
	listen.Config      `yaml:",inline"`
	State              string `yaml:"state"` // a file; "": what it keeps is lost at the end
}

// limiterConfig joins the limits, the requests that are exempt from them, which the proxy recognizes,
// and what holds the limits over several instances.
type limiterConfig struct {
	limiter.Config `yaml:",inline"`
	Exempt         proxy.ExemptConfig `yaml:"exempt"`
	Share          shared.Config      `yaml:",inline"`
}

// logConfig is the log section.
type logConfig struct {
	Level  string       `yaml:"level"`
	Format string       `yaml:"format"`
	Access proxy.Access `yaml:"access"`
	Query  bool         `yaml:"query"` // paths in the access log have their query
}

// validate calls wrong once for each fault, with its path below log.
func (c logConfig) validate(wrong func(path string, value any, allowed string)) {
	if level, err := zerolog.ParseLevel(c.Level); err != nil || c.Level == "" || level > zerolog.ErrorLevel {
		wrong("level", c.Level, "one of trace, debug, info, warn, error")
	}
	oneOf(wrong, "format", c.Format, "auto", "console", "json")
	oneOf(wrong, "access", string(c.Access), string(proxy.AccessOff), string(proxy.AccessErrors), string(proxy.AccessAll))
}

func oneOf(wrong func(path string, value any, allowed string), path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		wrong(path, value, "one of "+strings.Join(allowed, ", "))
	}
}

func defaultConfig() config {
	return config{
		Server:     serverConfig{proxy.DefaultServerConfig(), listen.DefaultConfig(), "lb.state"},
		Management: management.DefaultConfig(),
		Limiter:    limiterConfig{Config: limiter.DefaultConfig(), Share: shared.DefaultConfig()},
		Clients:    clients.DefaultConfig(),
		Log:        logConfig{Level: "info", Format: "auto", Access: proxy.AccessOff},
	}
}

// loadConfig reads and checks a config file. Its error lists every fault, one per line, with file,
// line, path, value and what is allowed. text is the file.
func loadConfig(path string) (c config, text []byte, err error) {
	if text, err = readConfig(path); err != nil {
		return config{}, nil, fmt.Errorf("%w; set its path with --path=FILE", err)
	}
	c, err = parseConfig(path, text, os.LookupEnv)
	return c, text, err
}

// maxConfig bounds the config file, in bytes: to parse it takes a multiple of that in memory.
const maxConfig = 4 << 20

// readConfig reads a config file.
func readConfig(path string) (text []byte, err error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		text, err = io.ReadAll(io.LimitReader(f, maxConfig+1))
	}
	if err != nil {
		return nil, fmt.Errorf("read the config file: %w", err)
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("read the config file: %s is larger than %d MiB, the most that a config may have", path, maxConfig>>20)
	}
	return text, nil
}

func parseConfig(file string, text []byte, lookup func(string) (string, bool)) (config, error) {
	c, _, err := parseDocument(file, text, lookup)
	return c, err
}

// parseDocument returns the config with the document that it was read from, for faults of the file
// that are none of the config.
func parseDocument(file string, text []byte, lookup func(string) (string, bool)) (config, *document, error) {
	doc, err := readDocument(file, text, lookup)
	if err != nil {
		return config{}, nil, err
	}
	c := defaultConfig()
	if err := doc.decode(&c); err != nil {
		return config{}, nil, err
	}
	c.validate(doc.wrong)
	if err := doc.err(); err != nil {
		return config{}, nil, err
	}
	return c, doc, nil
}

// poolName matches valid pool names, which appear in metrics and in paths.
var poolName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// sameToCGI reports whether two field names are the same to programs that read _ as -, as CGI does.
func sameToCGI(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "_", "-"), strings.ReplaceAll(b, "_", "-"))
}

// validate calls wrong once for each fault.
func (c *config) validate(wrong func(path string, value any, allowed string)) {
	at := func(section string) func(path string, value any, allowed string) {
		return func(path string, value any, allowed string) { wrong(section+"."+path, value, allowed) }
	}
	c.Server.Config.Validate(at("server"))
	c.Server.ServerConfig.Validate(at("server"))
	c.Management.Validate(at("management"))
	switch {
	case !c.Management.Listen.Overlaps(c.Server.Listen):
	case c.Management.Listen == defaultConfig().Management.Listen: // the default, so the file need not contain it
		wrong("server.listen", c.Server.Listen, "another address than management.listen, which is "+c.Management.Listen.String())
	default:
		wrong("management.listen", c.Management.Listen, "another address than server.listen")
	}
	if from := c.Server.TLS.RedirectFrom; !from.IsZero() && from.Overlaps(c.Management.Listen) {
		wrong("server.tls.redirect_from", from, "another address than management.listen, which is "+c.Management.Listen.String())
	}
	if c.Server.TLS.Listen.Overlaps(c.Management.Listen) {
		wrong("server.tls.listen", c.Server.TLS.Listen, "another address than management.listen, which is "+c.Management.Listen.String())
	}
	if len(c.Pools) == 0 {
		wrong("pools", "", "at least one pool with one backend")
	}
	names := slices.Sorted(maps.Keys(c.Pools))
	for _, name := range names {
		if !poolName.MatchString(name) {
			wrong("pools."+name, fmt.Sprintf("the name %q", name), "a name of letters, digits, and . _ -")
		}
		c.Pools[name].Validate(at("pools." + name))
	}
	c.validateLoops(wrong)
	own := c.Server.OwnFields(c.Server.TLS.ClientCA != "")
	routes.Validate(c.Routes, names, &own, wrong)
	keyRefused := c.validateSubject(own.CheckSubject, wrong)
	c.Limiter.Validate(func(path string, value any, allowed string) {
		keyRefused = keyRefused || path == "api_key_header"
		wrong("limiter."+path, value, allowed)
	})
	if !keyRefused && sameToCGI(string(c.Server.ClientIPHeader), c.Limiter.APIKeyHeader) {
		wrong("server.client_ip_header", c.Server.ClientIPHeader, "another field than limiter.api_key_header, also where _ is read as -")
	}
	c.Limiter.Exempt.Validate(at("limiter.exempt"))
	c.Limiter.Share.Validate(at("limiter"))
	c.Clients.Validate(at("clients"))
	c.validateACME(wrong)
	c.Log.validate(at("log"))
}

// validateSubject calls wrong for each key that names a field that says who the client is. check
// returns what is allowed instead. refused reports whether that is limiter.api_key_header.
func (c *config) validateSubject(check func(name string) string, wrong func(path string, value any, allowed string)) (refused bool) {
	if allowed := check(string(c.Server.ClientIPHeader)); allowed != "" {
		wrong("server.client_ip_header", c.Server.ClientIPHeader, allowed)
	}
	if allowed := check(c.Limiter.APIKeyHeader); allowed != "" {
		wrong("limiter.api_key_header", c.Limiter.APIKeyHeader, allowed)
		return true
	}
	return false
}

// validateLoops calls wrong for each backend that is the balancer itself.
func (c *config) validateLoops(wrong func(path string, value any, allowed string)) {
	interfaces := interfaceAddresses()
	for name, p := range c.Pools {
		for i, b := range p.Backends {
			if key := c.ownListener(b.URL, interfaces); key != "" {
				wrong(fmt.Sprintf("pools.%s.backends[%d].url", name, i), b.URL.String(),
					"another address: the balancer itself listens there ("+key+")")
			}
		}
	}
}
