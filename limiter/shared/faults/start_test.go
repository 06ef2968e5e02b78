package faults

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/limiter/shared/redistest"
)

// Without Redis a start serves at once. Each instance goes by itself until Redis is there; then what
// it let through counts.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	server.Kill()
	client := limit{"early", 60, 0.5}
	s := &setup{backend: startBackend(t), wait: patient, limits: []limit{client}}
	begun := time.Now()
	all := s.begin(t, server.URL(), server.URL())
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the start took %s", took)
	}
	await(t, all, "0")
	f := &flow{}
	for _, b := range all {
		b.Log.Require(t, "the start without Redis", "Redis is away", "refused")
		f.send(b, client)
		balancer.WaitFor(t, deadline, "the client to be limited", func() bool { return f.isLimited(b, client) })
	}
	server.Restart()
	awaitFleet(t, all, len(all))
	time.Sleep(time.Second)
	f.stop(t, patient+busy)
	seen := s.backend.of(client.name)
	for _, b := range all {
		if most := mostOf(by(seen, b), client.rate); most > float64(client.capacity)+clocks {
			t.Errorf("instance %s let through %.2f tokens beyond the refill, more than %d", b.number, most, client.capacity)
		}
		if away, back := b.Log.With("Redis is away"), b.Log.With("limits are shared"); len(away) != 1 || len(back) == 0 {
			t.Errorf("instance %s says: %s%s", b.number, away, back)
		}
	}
	// What both let through before they knew of each other counts now, so nothing more passes.
	most := mostOf(seen, client.rate)
	t.Logf("two instances let through %.1f tokens beyond the refill, of a capacity of %d", most, client.capacity)
	if most > float64(len(all)*client.capacity)+clocks {
		t.Errorf("%.2f tokens beyond the refill, more than %d", most, len(all)*client.capacity)
	}
}

// A password that Redis refuses is told as what it is, and not shown.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	const wrong = "wr0ng-secret"
	for name, c := range map[string]struct {
		password, url, told string
	}{
		"wrong":   {"right", "redis://:" + wrong + "@", "password"},
		"missing": {"right", "redis://", "lacks a password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{Password: c.password})
			client := limit{"served", 10, 1}
			s := &setup{backend: startBackend(t), wait: patient, limits: []limit{client}}
			all := s.begin(t, c.url+server.Address)
			all[0].Log.Require(t, "the password", "Redis is away", c.told)
			await(t, all, "0")
			for range 2 * client.capacity {
				if a := all[0].ask(client.name); a.isFailure() || a.took > patient+busy {
					t.Errorf("a request got %+v", a)
				}
			}
			time.Sleep(2 * time.Second) // Redis is tried each second
			if got := mostOf(s.backend.of(client.name), client.rate); got > float64(client.capacity)+clocks || got < float64(client.capacity)-1 {
				t.Errorf("%.2f of %d tokens passed", got, client.capacity)
			}
			if lines := all[0].Log.With("Redis is away"); len(lines) != 1 {
				t.Errorf("it is told %d times: %s", len(lines), lines)
			}
			if strings.Contains(all[0].Log.String(), wrong) {
				t.Error("the log shows the password")
			}
		})
	}
}

// A wrong URL ends the start, and the message says where it stands and what is allowed, without what
// may be a password.
func TestWrongURL(t *testing.T) {
	t.Parallel()
	const secret = "hush-hush"
	for name, c := range map[string]struct{ url, told string }{
		"another scheme":       {"http://:" + secret + "@127.0.0.1:6379", "redis://"},
		"no scheme":            {secret + "@127.0.0.1:6379", "redis://"},
		"no host":              {"redis://", "host"},
		"no port":              {"redis://:" + secret + "@127.0.0.1:70000", "port"},
		"an unknown parameter": {"redis://:" + secret + "@127.0.0.1:6379?pool=3", "parameter"},
		"a raw password":       {"redis://:" + secret + "#/@127.0.0.1:6379", "%23"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := balancer.Start(t, balancer.Command(t, binary, t.TempDir(),
				"pools: {main: {backends: [{url: 'http://127.0.0.1:1'}]}}\nclients: {store: memory}\nlimiter:\n  share: '"+c.url+"'\n"))
			select {
			case <-b.Ended:
			case <-time.After(deadline):
				t.Fatalf("it goes on: %s", b.Log)
			}
			said := b.Log.String()
			if code := b.ProcessState.ExitCode(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, word := range []string{"lb.yaml:4", "limiter.share", c.told} {
				if !strings.Contains(said, word) {
					t.Errorf("without %q: %s", word, said)
				}
			}
			if strings.Contains(said, secret) {
				t.Errorf("the secret is shown: %s", said)
			}
			check := exec.Command(binary, "check", "--path="+b.Dir+"/lb.yaml")
			if out, _ := check.CombinedOutput(); check.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "lb.yaml:4") {
				t.Errorf("lb check ends with %d: %s", check.ProcessState.ExitCode(), out)
			}
		})
	}
}
