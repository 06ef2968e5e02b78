package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// manifest is what the tests look at in an object of Kubernetes, of whatever kind.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string
	Spec struct {
		Selector yaml.Node
		Template struct{ Metadata, Spec yaml.Node }
		Ports    []struct {
			TargetPort string `yaml:"targetPort"`
		}
		MinReplicas int                         `yaml:"minReplicas"`
		MaxReplicas int                         `yaml:"maxReplicas"`
		Unavailable int                         `yaml:"maxUnavailable"`
		ScaleTarget struct{ Kind, Name string } `yaml:"scaleTargetRef"`
	}
}

// pod is the Deployment's template.
type pod struct {
	GracePeriod     int            `yaml:"terminationGracePeriodSeconds"`
	SecurityContext map[string]any `yaml:"securityContext"`
	Containers      []container
	Volumes         []struct {
		Name      string
		ConfigMap struct{ Name string } `yaml:"configMap"`
	}
}

type container struct {
	Args  []string
	Env   []struct{ Name string }
	Ports []struct {
		Name          string
		ContainerPort string `yaml:"containerPort"`
	}
	LivenessProbe   probe          `yaml:"livenessProbe"`
	ReadinessProbe  probe          `yaml:"readinessProbe"`
	SecurityContext map[string]any `yaml:"securityContext"`
	Lifecycle       any
	VolumeMounts    []struct {
		Name, SubPath string
		MountPath     string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

const kubernetesFile = "deploy/kubernetes.yaml"

// kubernetes returns the objects of the file by kind and name, and the pod of the Deployment.
func kubernetes(t *testing.T) (objects map[string]manifest, p pod) {
	t.Helper()
	objects = map[string]manifest{}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(readFile(t, kubernetesFile))))
	for {
		var m manifest
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects[m.Kind+" "+m.Metadata.Name] = m
	}
	spec := objects["Deployment lb"].Spec.Template.Spec
	if err := spec.Decode(&p); err != nil || len(p.Containers) != 1 {
		t.Fatalf("the pod has %d containers: %v", len(p.Containers), err)
	}
	return objects, p
}

// kubernetesConfig returns the config of the ConfigMap, with the environment of the container.
func kubernetesConfig(t *testing.T) config {
	t.Helper()
	objects, p := kubernetes(t)
	text := objects["ConfigMap lb"].Data["config.yaml"]
	variables := map[string]string{}
	for _, v := range p.Containers[0].Env {
		if !strings.Contains(text, "${"+v.Name+"}") {
			t.Errorf("the config does not read %s", v.Name)
		}
		variables[v.Name] = map[string]string{"LB_STORE": "postgres://lb:lb@postgres:5432/lb", "LB_TOKEN": "0123456789abcdef"}[v.Name]
	}
	c, err := parseConfig("config.yaml", []byte(text), environment(variables))
	if err != nil {
		t.Fatal(err)
	}
	if err := violation(t, text); err != nil {
		t.Error(err)
	}
	return c
}

func TestKubernetesObjects(t *testing.T) {
	objects, _ := kubernetes(t)
	for name, version := range map[string]string{
		"ConfigMap lb": "v1", "Deployment lb": "apps/v1", "Service lb": "v1", "Service lb-management": "v1",
		"PodDisruptionBudget lb": "policy/v1", "HorizontalPodAutoscaler lb": "autoscaling/v2",
	} {
		if got := objects[name].APIVersion; got != version {
			t.Errorf("%s has the version %q, want %q", name, got, version)
		}
	}
	var template struct{ Labels map[string]string }
	metadata := objects["Deployment lb"].Spec.Template.Metadata
	if err := metadata.Decode(&template); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Deployment lb", "Service lb", "Service lb-management", "PodDisruptionBudget lb"} {
		var flat map[string]string
		var nested struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		selector := objects[name].Spec.Selector
		if selector.Decode(&flat) != nil {
			if err := selector.Decode(&nested); err != nil {
				t.Error(err)
			}
			flat = nested.MatchLabels
		}
		if len(flat) == 0 {
			t.Errorf("%s selects nothing", name)
		}
		for key, value := range flat {
			if template.Labels[key] != value {
				t.Errorf("%s selects %s: %s, which the pods do not have", name, key, value)
			}
		}
	}
	scaler := objects["HorizontalPodAutoscaler lb"].Spec
	if scaler.ScaleTarget.Kind+" "+scaler.ScaleTarget.Name != "Deployment lb" || scaler.MinReplicas <= objects["PodDisruptionBudget lb"].Spec.Unavailable {
		t.Errorf("the autoscaler has %+v", scaler)
	}
}

// What the Deployment says of the binary, its config and its image is so.
func TestKubernetesDeployment(t *testing.T) {
	objects, p := kubernetes(t)
	c, lb := kubernetesConfig(t), p.Containers[0]
	requireFlags(t, kubernetesFile, lb.Args)
	if needed := c.Server.ShutdownDelay + c.Server.ShutdownTimeout; time.Duration(p.GracePeriod)*time.Second <= needed || c.Server.ShutdownDelay == 0 || lb.Lifecycle != nil {
		t.Errorf("terminationGracePeriodSeconds is %d, and an end may take %s", p.GracePeriod, needed)
	}
	mounts := map[string]string{}
	for _, m := range lb.VolumeMounts {
		mounts[m.Name] = m.MountPath
		if m.SubPath != "" {
			t.Errorf("%s is mounted with a subPath, which never changes", m.Name)
		}
	}
	if want := []string{"--path=" + mounts["config"] + "/config.yaml", "--watch"}; !slices.Equal(lb.Args, want) {
		t.Errorf("the args are %q, want %q", lb.Args, want)
	}
	if mounts["data"] != instructionOf(t, "WORKDIR") {
		t.Errorf("data is mounted at %s, and the image works in %s", mounts["data"], instructionOf(t, "WORKDIR"))
	}
	for _, v := range p.Volumes {
		if v.Name == "config" && objects["ConfigMap "+v.ConfigMap.Name].Data == nil {
			t.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
		}
	}
	s := lb.SecurityContext
	if s["readOnlyRootFilesystem"] != true || s["allowPrivilegeEscalation"] != false || p.SecurityContext["runAsNonRoot"] != true {
		t.Errorf("the container has %v, and the pod %v", s, p.SecurityContext)
	}
	if strings.Contains(readFile(t, kubernetesFile), "runAsUser") {
		t.Error("the file names a user, and a platform may choose its own")
	}
}

// The ports are those of the config, and the probes ask paths that are served there without a
// token.
func TestKubernetesPortsAndProbes(t *testing.T) {
	objects, p := kubernetes(t)
	c, lb := kubernetesConfig(t), p.Containers[0]
	ports := map[string]string{}
	for _, port := range lb.Ports {
		ports[port.Name] = port.ContainerPort
	}
	_, front := c.Server.Listen.HostPort()
	host, back := c.Management.Listen.HostPort()
	if ports["http"] != front || ports["management"] != back || host != "" {
		t.Errorf("the ports are %v, and the config has %s and %s", ports, c.Server.Listen, c.Management.Listen)
	}
	for _, name := range []string{"Service lb", "Service lb-management"} {
		if target := objects[name].Spec.Ports[0].TargetPort; ports[target] == "" {
			t.Errorf("%s leads to the port %q, which no container has", name, target)
		}
	}
	scraped := regexp.MustCompile(`prometheus.io/port: "(\d+)"`).FindStringSubmatch(readFile(t, kubernetesFile))
	if scraped == nil || scraped[1] != back {
		t.Errorf("Prometheus is told the port %q, want %s", scraped, back)
	}
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n  token: 0123456789abcdef\n"), "--demo")
	for of, probe := range map[string]probe{"liveness": lb.LivenessProbe, "readiness": lb.ReadinessProbe} {
		want := map[bool]string{true: "/readyz", false: "/healthz"}[of == "readiness"]
		if probe.HTTPGet.Path != want || probe.HTTPGet.Port != "management" {
			t.Errorf("the %s probe asks %+v, want %s", of, probe.HTTPGet, want)
		}
		if a := call(t, "GET", in.management+probe.HTTPGet.Path, "", "Host: 10.0.0.7:8081"); a.status != 200 {
			t.Errorf("the %s probe gets %+v", of, a)
		}
	}
}
