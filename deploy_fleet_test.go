package main

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalancer/limiter/shared/redistest"
	"loadbalancer/management"
)

// The folder of two balancers that are one to their clients.
const (
	fleetCompose  = "deploy/fleet/compose.yaml"
	fleetConfig   = "deploy/fleet/lb.yaml"
	fleetBalancer = "deploy/fleet/haproxy.cfg"
)

// fleetService is a service of the compose file.
type fleetService struct {
	Image           string
	Command         []string
	Environment     map[string]string
	Volumes, Ports  []string
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
	Networks        map[string]struct {
		IPv4Address string `yaml:"ipv4_address"`
	}
}

// fleet is the compose file.
type fleet struct {
	Services map[string]fleetService
	Networks map[string]struct {
		IPAM struct{ Config []struct{ Subnet string } }
	}
	Volumes map[string]any
}

func readFleet(t *testing.T) (f fleet) {
	t.Helper()
	readYAML(t, fleetCompose, &f)
	return f
}

// config returns the config of a balancer, with the variables that the compose file gives it where
// nothing is set.
func (f fleet) config(t *testing.T, name string) config {
	t.Helper()
	variables := map[string]string{}
	for name, value := range f.Services[name].Environment {
		expanded, err := expandText(value, environment(nil))
		if err != nil {
			t.Fatalf("%s: %+v", name, err)
		}
		variables[name] = expanded
	}
	c, err := parseConfig(fleetConfig, []byte(readFile(t, fleetConfig)), environment(variables))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// requireService checks that the host of a URL is a service of the compose file.
func (f fleet) requireService(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Services[u.Hostname()]; !ok {
		t.Errorf("%s: no service is called %q", address, u.Hostname())
	}
}

// The two balancers run with the mounted config, and share clients and limits.
func TestFleet(t *testing.T) {
	f := readFleet(t)
	for _, name := range []string{"lb1", "lb2"} {
		s := f.Services[name]
		requireFlags(t, name, s.Command)
		c := f.config(t, name)
		f.requireService(t, c.Clients.Store)
		f.requireService(t, c.Limiter.Share.URL)
		if c.Management.Token == "" || !c.sharesLimits() || !c.Clients.IsShared() {
			t.Errorf("%s: %+v %+v %+v", name, c.Management, c.Limiter, c.Clients)
		}
		if bears := c.Server.ShutdownDelay + c.Server.ShutdownTimeout; s.StopGracePeriod <= bears {
			t.Errorf("%s: stop_grace_period %s is not above %s", name, s.StopGracePeriod, bears)
		}
		trusted := c.Server.TrustedProxies
		if at := f.Services["haproxy"].Networks["default"].IPv4Address; !c.Server.ProxyProtocol || len(trusted) != 1 || trusted[0].String() != at+"/32" {
			t.Errorf("HAProxy is at %s, and %s trusts %v", at, name, trusted)
		}
		if _, port := c.Management.Listen.HostPort(); len(s.Ports) != 1 || !strings.HasSuffix(s.Ports[0], ":"+port) {
			t.Errorf("%s publishes %v, and its API is on %s", name, s.Ports, c.Management.Listen)
		}
		if !slices.Contains(s.Command, "--path="+mountOf(t, s, fleetConfig)) {
			t.Errorf("%s does not read the mounted config: %v", name, s.Command)
		}
	}
	at := netip.MustParseAddr(f.Services["haproxy"].Networks["default"].IPv4Address)
	if subnet := netip.MustParsePrefix(f.Networks["default"].IPAM.Config[0].Subnet); !subnet.Contains(at) {
		t.Errorf("HAProxy's address %s is not in %s", at, subnet)
	}
	mountOf(t, f.Services["haproxy"], fleetBalancer)
	for name, s := range f.Services {
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, named := f.Volumes[source]; !named {
				requireExists(t, filepath.Join(filepath.Dir(fleetCompose), source))
			}
		}
		if s.Image == "" {
			t.Errorf("%s has no image", name)
		}
	}
}

// mountOf returns where a service sees a file.
func mountOf(t *testing.T, s fleetService, file string) string {
	t.Helper()
	for _, volume := range s.Volumes {
		if part := strings.Split(volume, ":"); filepath.Join(filepath.Dir(fleetCompose), part[0]) == file {
			return part[1]
		}
	}
	t.Errorf("%s is not mounted: %v", file, s.Volumes)
	return ""
}

var fleetServers = regexp.MustCompile(`(?m)^ +server (\S+) (\S+):(\d+) check port (\d+)$`)

// HAProxy asks the balancers where they answer, and has seen that one ends before it closes its
// listener.
func TestFleetBalancer(t *testing.T) {
	f, text := readFleet(t), readFile(t, fleetBalancer)
	servers := map[string]bool{}
	for _, s := range fleetServers.FindAllStringSubmatch(text, -1) {
		servers[s[2]] = true
		c := f.config(t, s[2])
		_, port := c.Server.Listen.HostPort()
		_, readyPort := c.Management.Listen.HostPort()
		if s[1] != s[2] || s[3] != port || s[4] != readyPort {
			t.Errorf("%s: the balancer listens on %s and %s", s[0], port, readyPort)
		}
		if !slices.Contains(c.Management.Hosts, management.Host(s[2])) {
			t.Errorf("%s is not a name that /metrics answers to", s[2])
		}
		check := regexp.MustCompile(`inter (\S+) fall 2 `).FindStringSubmatch(text)
		if inter, err := time.ParseDuration(check[1]); err != nil || c.Server.ShutdownDelay <= 2*inter {
			t.Errorf("two checks, one each %s, take longer than server.shutdown_delay %s", check[1], c.Server.ShutdownDelay)
		}
		client := regexp.MustCompile(`timeout client +(\S+)`).FindStringSubmatch(text)
		if silence, err := time.ParseDuration(client[1]); err != nil || silence <= c.Pools["main"].Timeouts.Tunnel {
			t.Errorf("HAProxy ends a silent connection after %s, before the balancer does", client[1])
		}
	}
	if got := slices.Sorted(maps.Keys(servers)); !slices.Equal(got, []string{"lb1", "lb2"}) {
		t.Errorf("HAProxy knows the servers %v", got)
	}
	if out, err := exec.Command(tool(t, "haproxy"), "-c", "-f", fleetBalancer).CombinedOutput(); err != nil {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
}

// fleetCommands returns the curl commands in the head of the compose file, which register a client
// and send its requests.
func fleetCommands(t *testing.T) (register, send string) {
	t.Helper()
	var commands []string
	text := strings.ReplaceAll(readFile(t, fleetCompose), " \\\n# ", "")
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(line, "#   curl "); ok {
			commands = append(commands, "curl "+strings.TrimSpace(command))
		}
	}
	if len(commands) != 2 {
		t.Fatalf("the head of %s has the commands %q", fleetCompose, commands)
	}
	return commands[0], commands[1]
}

// testFleet runs HAProxy and two balancers with the files of deploy/fleet, on loopback: a client has
// one limit, the balancers see the clients' addresses, and no request fails while one of them ends.
func testFleet(t *testing.T, built programs) {
	balancer, redis := tool(t, "haproxy"), redistest.Start(t, redistest.Options{})
	register, send := fleetCommands(t)
	backends, at := freeAddresses(t, 2), freeAddresses(t, 5)
	for _, address := range backends {
		serveEcho(t, address)
	}
	front, config := at[0], strings.NewReplacer("bind :8080", "bind "+at[0], "inter 1s", "inter 50ms")
	text := config.Replace(readFile(t, fleetBalancer))
	var balancers []*process
	for i, name := range []string{"lb1", "lb2"} {
		listen, ready := at[1+2*i], at[2+2*i]
		_, port, _ := net.SplitHostPort(ready)
		text = strings.Replace(text, name+":8080 check port 8081", listen+" check port "+port, 1)
		balancers = append(balancers, startFleetBalancer(t, built, listen, ready, redis.URL(), backends))
		// They have a store each, in memory.
		if out := runShell(t, strings.Replace(register, "localhost:8081", ready, 1)); !strings.Contains(out, `"name":"acme"`) {
			t.Fatalf("%s: %s", register, out)
		}
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startProcess(t, balancer, "-db", "-f", path)

	client := &http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 5)}}).DialContext}}
	get := func() (status int, body string) {
		res, err := client.Get("http://" + front + "/")
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	waitFor(t, "HAProxy", func() bool { status, _ := get(); return status == 200 })
	if _, body := get(); body != "127.0.0.5" {
		t.Errorf("the client's address is %q", body)
	}
	counts := runShell(t, strings.Replace(send, "localhost:8080", front, 1))
	if passed := regexp.MustCompile(`(\d+) 200\n`).FindStringSubmatch(counts); passed == nil {
		t.Errorf("%s: %s", send, counts)
	} else if n, _ := strconv.Atoi(passed[1]); n < 100 || n > 112 {
		t.Errorf("of a bucket of 100 tokens, %d requests were let through", n)
	}
	balancers[0].signal(t, syscall.SIGTERM)
	for ended := false; !ended; {
		select {
		case <-balancers[0].ended:
			ended = true
		default:
		}
		if status, body := get(); status != 200 {
			t.Fatalf("while a balancer ends, a request gets %d %s", status, body)
		}
	}
	balancers[0].requireExit(t, 0)
}

// runShell returns what a command line prints.
func runShell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// startFleetBalancer starts a balancer with the config of deploy/fleet, on these addresses.
func startFleetBalancer(t *testing.T, built programs, listen, ready, share string, backends []string) *process {
	t.Helper()
	text := strings.NewReplacer("server:\n", "server:\n  listen: "+listen+"\n", `listen: ":8081"`, "listen: "+ready, "172.31.255.2", "127.0.0.1",
		"limiter:\n", "limiter:\n  share_wait: 500ms\n  default: {capacity: 1000000, rate_per_second: 1000}\n",
		"127.0.0.1:8100", backends[0], "127.0.0.1:8101", backends[1], "shutdown_delay: 3s", "shutdown_delay: 500ms").Replace(readFile(t, fleetConfig))
	command := exec.Command(built.lb, "--path="+writeConfig(t, text))
	command.Env = append(os.Environ(), "LB_TOKEN=local", "LB_STORE=memory", "LB_SHARE="+share)
	p := startJournaled(t, command)
	waitFor(t, "a balancer", func() bool { return p.stdout.find("proxy") != nil })
	return p
}

// serveEcho serves the address of the client that a request is said to come from.
func serveEcho(t *testing.T, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	})}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
}
