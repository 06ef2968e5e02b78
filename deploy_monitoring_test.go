package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exported are the names of all metrics, each with the names of its labels. Histograms stand there
// by the names of their series.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	failing := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(failing.Close)
	in := startInstance(t, testConfig(t, []string{freeAddresses(t, 1)[0], failing.Listener.Addr().String()}, "limiter: {share: redis://127.0.0.1:1}\n"), "--demo")
	for range 4 { // one of the backends fails
		call(t, "GET", in.proxy+"/", "")
	}
	all := map[string]map[string]bool{}
	label := regexp.MustCompile(`([a-zA-Z_]+)="`)
	for line := range strings.Lines(call(t, "GET", in.management+"/metrics", "").body) {
		name, rest, _ := strings.Cut(line, " ")
		if name == "#" {
			if kind, ok := strings.CutPrefix(rest, "TYPE "); ok { // a family may have no series yet
				family, _, _ := strings.Cut(kind, " ")
				if all[family] == nil {
					all[family] = map[string]bool{}
				}
			}
			continue
		}
		name, labels, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		if all[name] == nil {
			all[name] = map[string]bool{}
		}
		for _, part := range label.FindAllStringSubmatch(labels, -1) {
			all[name][part[1]] = true
		}
	}
	return all
}

// requireExported checks that the metrics and the labels of an expression exist.
func requireExported(t *testing.T, where, expr string, all map[string]map[string]bool) {
	t.Helper()
	known := map[string]bool{"instance": true, "job": true} // Prometheus adds them
	names := regexp.MustCompile(`\b(lb|go|process)_[a-z_]+`).FindAllString(expr, -1)
	for _, name := range names {
		labels, ok := all[name]
		if !ok {
			t.Errorf("%s: no metric is called %s", where, name)
		}
		maps.Copy(known, labels)
	}
	if len(names) == 0 && !strings.HasPrefix(expr, "up{") {
		t.Errorf("%s: no metric of the balancer in %s", where, expr)
	}
	var used []string
	for _, part := range regexp.MustCompile(`by \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		used = append(used, strings.Split(part[1], ", ")...)
	}
	for _, part := range regexp.MustCompile(`([a-z]+)(?:=|!)[~"]`).FindAllStringSubmatch(expr, -1) {
		used = append(used, part[1])
	}
	for _, label := range used {
		if !known[label] {
			t.Errorf("%s: no label is called %s in %s", where, label, expr)
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") || strings.Count(expr, `"`)%2 != 0 {
		t.Errorf("%s: a bracket or a quote is open in %s", where, expr)
	}
}

// TestMonitoring holds the alerts and the dashboard to what the balancer exports.
func TestMonitoring(t *testing.T) {
	all := exported(t)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	readYAML(t, "deploy/prometheus/alerts.yml", &rules)
	seen := map[string]bool{}
	for _, rule := range rules.Groups[0].Rules {
		requireExported(t, rule.Alert, rule.Expr, all)
		if seen[rule.Alert] || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s stands there twice, or lacks a severity, a summary or a description", rule.Alert)
		}
		seen[rule.Alert] = true
		for _, label := range regexp.MustCompile(`\$labels\.([a-z]+)`).FindAllStringSubmatch(rule.Annotations["summary"]+rule.Annotations["description"], -1) {
			if label[1] != "instance" && !strings.Contains(rule.Expr, "by (") && !all[regexp.MustCompile(`lb_[a-z_]+`).FindString(rule.Expr)][label[1]] {
				t.Errorf("%s: its result has no label %s", rule.Alert, label[1])
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d alerts were read", len(seen))
	}

	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "deploy/grafana/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var ids []int
	for _, p := range dashboard.Panels {
		ids = append(ids, p.ID)
		for _, target := range p.Targets {
			requireExported(t, p.Title, target.Expr, all)
		}
	}
	if len(ids) < 10 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		t.Errorf("the panels are %v", ids)
	}
}

// TestMonitoringIsProvisioned: what docker-compose.yml mounts exists, and the names lead to each
// other.
func TestMonitoringIsProvisioned(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Profiles    []string
			Volumes     []string
			Environment map[string]string
		}
	}
	readYAML(t, "docker-compose.yml", &compose)
	for _, name := range []string{"prometheus", "grafana"} {
		s := compose.Services[name]
		if !slices.Equal(s.Profiles, []string{"monitoring"}) || len(s.Volumes) == 0 {
			t.Errorf("%s: %+v", name, s)
		}
		for _, volume := range s.Volumes {
			requireExists(t, strings.TrimPrefix(strings.Split(volume, ":")[0], "./"))
		}
	}
	var prometheus struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "deploy/prometheus/prometheus.yml", &prometheus)
	for _, file := range prometheus.RuleFiles {
		requireExists(t, "deploy/prometheus/"+file)
	}
	host, _, _ := strings.Cut(prometheus.ScrapeConfigs[0].StaticConfigs[0].Targets[0], ":")
	if _, ok := compose.Services[host]; !ok || compose.Services["lb"].Environment["LB_HOST"] != host {
		t.Errorf("Prometheus scrapes %s, which is no service, or not a name that the balancer answers to", host)
	}
}

func requireExists(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
