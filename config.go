package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"gopkg.in/yaml.v3"

	"loadbalancer/clients"
	"loadbalancer/healthz"
	"loadbalancer/limiter"
	"loadbalancer/proxy"
)

// config is the whole file: each package's part of it, composed.
type config struct {
	Server     proxy.ServerConfig  `yaml:"server"`
	Management managementConfig    `yaml:"management"`
	Pools      map[string]*pool    `yaml:"pools"`
	Routes     []proxy.RouteConfig `yaml:"routes"`
	Limiter    limiterConfig       `yaml:"limiter"`
	Clients    clients.Config      `yaml:"clients"`
	Log        logConfig           `yaml:"log"`
}

// pool joins what the proxy and the health checks have to know of a pool.
type pool struct {
	proxy.PoolConfig `yaml:",inline"`
	Health           healthz.Config `yaml:"health"`
}

// limiterConfig joins the limits with the requests that they are not for, which the
// proxy tells apart.
type limiterConfig struct {
	limiter.Config `yaml:",inline"`
	Exempt         proxy.ExemptConfig `yaml:"exempt"`
}

// UnmarshalYAML gives a pool its defaults before it is read.
func (p *pool) UnmarshalYAML(n *yaml.Node) error {
	type plain pool
	*p = pool{PoolConfig: proxy.DefaultPoolConfig(), Health: healthz.DefaultConfig()}
	return n.Decode((*plain)(p))
}

// logConfig is the section log.
type logConfig struct {
	Level  string       `yaml:"level"`
	Format string       `yaml:"format"`
	Access proxy.Access `yaml:"access"`
}

// validate calls wrong once for each fault, with its path below log.
func (c logConfig) validate(wrong func(path string, value any, allowed string)) {
	if level, err := zerolog.ParseLevel(c.Level); err != nil || c.Level == "" || level > zerolog.ErrorLevel {
		wrong("level", c.Level, "trace, debug, info, warn, error")
	}
	oneOf(wrong, "format", c.Format, "auto", "console", "json")
	oneOf(wrong, "access", string(c.Access), string(proxy.AccessOff), string(proxy.AccessErrors), string(proxy.AccessAll))
}

func oneOf(wrong func(path string, value any, allowed string), path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		wrong(path, value, strings.Join(allowed, ", "))
	}
}

func defaultConfig() config {
	return config{
		Server:     proxy.DefaultServerConfig(),
		Management: managementConfig{Listen: "127.0.0.1:8081", APIOnProxy: true},
		Limiter:    limiterConfig{Config: limiter.DefaultConfig()},
		Clients:    clients.DefaultConfig(),
		Log:        logConfig{Level: "info", Format: "auto", Access: proxy.AccessOff},
	}
}

// loadConfig reads and checks a config file. Its error holds every fault that
// was found, a line each, with file, line, path, value and what is allowed.
func loadConfig(path string) (config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return config{}, fmt.Errorf("read the config file: %w; give its place with --path=FILE", err)
	}
	return parseConfig(path, text, os.LookupEnv)
}

func parseConfig(file string, text []byte, lookup func(string) (string, bool)) (config, error) {
	doc, err := readDocument(file, text, lookup)
	if err != nil {
		return config{}, err
	}
	c := defaultConfig()
	if err := doc.decode(&c); err != nil {
		return config{}, err
	}
	c.validate(doc.wrong)
	return c, errors.Join(doc.faults...)
}

// poolName is what a pool may be called: the name stands in metrics and in paths.
var poolName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// sameListener reports whether two addresses cannot both be listened on.
func sameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(strings.Replace(a, "localhost:", "127.0.0.1:", 1))
	hostB, portB, errB := net.SplitHostPort(strings.Replace(b, "localhost:", "127.0.0.1:", 1))
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

func isWildcard(host string) bool {
	return host == "" || net.ParseIP(host).IsUnspecified()
}

// validate calls wrong once for each fault.
func (c *config) validate(wrong func(path string, value any, allowed string)) {
	at := func(section string) func(path string, value any, allowed string) {
		return func(path string, value any, allowed string) { wrong(section+"."+path, value, allowed) }
	}
	c.Server.Validate(at("server"))
	c.Management.validate(at("management"))
	if sameListener(c.Management.Listen, c.Server.Listen) {
		wrong("management.listen", c.Management.Listen, "another address than server.listen")
	}
	if len(c.Pools) == 0 {
		wrong("pools", "", "at least one pool with one backend")
	}
	names := slices.Sorted(maps.Keys(c.Pools))
	for _, name := range names {
		if !poolName.MatchString(name) {
			wrong("pools", name, "names of letters, digits, and . _ -")
		}
		if c.Pools[name] == nil {
			c.Pools[name] = &pool{PoolConfig: proxy.DefaultPoolConfig(), Health: healthz.DefaultConfig()}
		}
		c.Pools[name].Validate(at("pools." + name))
		c.Pools[name].Health.Validate(at("pools." + name + ".health"))
	}
	proxy.ValidateRoutes(c.Routes, names, wrong)
	c.Limiter.Validate(at("limiter"))
	c.Limiter.Exempt.Validate(at("limiter.exempt"))
	c.Clients.Validate(at("clients"))
	c.Log.validate(at("log"))
}
