package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// dockerfile are the instructions of the Dockerfile, in order.
func dockerfile(t *testing.T) (instructions [][2]string) {
	t.Helper()
	for line := range strings.Lines(readFile(t, "Dockerfile")) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && name != "#" {
			instructions = append(instructions, [2]string{name, rest})
		}
	}
	return instructions
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readFile(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// requireBinary checks a command in JSON that is the binary with flags that it knows.
func requireBinary(t *testing.T, where, binary, command string) {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(command), &words); err != nil || len(words) == 0 || words[0] != binary {
		t.Errorf("%s: %s is not %s with flags: %v", where, command, binary, err)
		return
	}
	requireFlags(t, where, words[1:])
}

// instructionOf returns what the Dockerfile's last instruction of that name says.
func instructionOf(t *testing.T, name string) (rest string) {
	t.Helper()
	for _, instruction := range dockerfile(t) {
		if instruction[0] == name {
			rest = instruction[1]
		}
	}
	return rest
}

// The image's root may be read-only: what is written goes into the working directory, a volume.
func TestDockerfileKeepsDataInAVolume(t *testing.T) {
	dir := instructionOf(t, "WORKDIR")
	if volume := instructionOf(t, "VOLUME"); volume != dir {
		t.Errorf("VOLUME is %q, and WORKDIR %q", volume, dir)
	}
	if want := "--from=build --chown=" + instructionOf(t, "USER") + " --chmod=0770 " + dir + " " + dir; instructionOf(t, "COPY") != want {
		t.Errorf("the last COPY is %q, want %q", instructionOf(t, "COPY"), want)
	}
}

// requireFlags checks that the balancer knows the flags.
func requireFlags(t *testing.T, where string, flags []string) {
	t.Helper()
	if err := run(t.Context(), append(slices.Clone(flags), "--help"), io.Discard); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

func TestDockerfile(t *testing.T) {
	config := readFile(t, "config.yaml")
	for _, instruction := range dockerfile(t) {
		name, rest := instruction[0], instruction[1]
		switch name {
		case "USER":
			if _, group, _ := strings.Cut(rest, ":"); group != "0" {
				t.Errorf("USER %s: the group is not 0, which platforms that choose the user go by", rest)
			}
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(rest, " CMD ")
			requireBinary(t, "HEALTHCHECK", "/lb", command)
		case "FROM":
			version, isGo := strings.CutPrefix(rest, "golang:")
			version, _, _ = strings.Cut(version, "-")
			if isGo && !strings.Contains(readFile(t, "go.mod"), "\ngo "+version) {
				t.Errorf("go.mod is not for Go %s", version)
			}
		case "COPY":
			sources := strings.Fields(rest)
			if strings.HasPrefix(sources[0], "--from=") {
				continue
			}
			for _, source := range sources[:len(sources)-1] {
				if _, err := os.Stat(source); err != nil {
					t.Errorf("COPY %s: %v", rest, err)
				}
			}
		case "ENV":
			variable, value, _ := strings.Cut(rest, "=")
			if !strings.Contains(config, "${"+variable+":-") {
				t.Errorf("config.yaml does not read %s", variable)
			}
			if _, err := parseConfig("config.yaml", []byte(config), environment(map[string]string{variable: value})); err != nil {
				t.Error(err)
			}
		case "CMD":
			var flags []string
			if err := json.Unmarshal([]byte(rest), &flags); err != nil {
				t.Errorf("CMD %s: %v", rest, err)
			}
			requireFlags(t, "CMD", flags)
		}
	}
}

// The image's build context must hold whatever the binary is made of.
func TestDockerignore(t *testing.T) {
	list, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(readFile(t, ".dockerignore"), "\n")
	needed := []string{"go.mod", "go.sum", "config.yaml", "docs", "docs/swagger.yaml"}
	for dir := range strings.Lines(string(list)) {
		needed = append(needed, strings.TrimPrefix(strings.TrimSpace(dir), root+"/"))
	}
	for _, path := range needed {
		if slices.Contains(ignored, path) || slices.Contains(ignored, path+"/") {
			t.Errorf(".dockerignore leaves %s out", path)
		}
	}
}

func TestDockerCompose(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Command         []string
			Environment     map[string]string
			Ports           []string
			StopGracePeriod time.Duration `yaml:"stop_grace_period"`
		}
	}
	readYAML(t, "docker-compose.yml", &compose)
	lb := compose.Services["lb"]
	requireFlags(t, "the command of lb", lb.Command)

	config := readFile(t, "config.yaml")
	variables := map[string]string{}
	for name, value := range lb.Environment {
		if !strings.Contains(config, "${"+name+":-") {
			t.Errorf("config.yaml does not read %s", name)
		}
		expanded, err := expandText(value, environment(nil)) // as compose does where nothing is set
		if err != nil {
			t.Fatalf("%s: %+v", name, err)
		}
		variables[name] = expanded
	}
	c, err := parseConfig("config.yaml", []byte(config), environment(variables))
	if err != nil {
		t.Fatal(err)
	}
	if want := "postgres://lb:lb@postgres:5432/lb"; c.Clients.Store != want || c.Management.Token == "" {
		t.Errorf("the store is %q and the token %q", c.Clients.Store, c.Management.Token)
	}
	if lb.StopGracePeriod <= c.Server.ShutdownTimeout {
		t.Errorf("stop_grace_period %s is not above server.shutdown_timeout %s", lb.StopGracePeriod, c.Server.ShutdownTimeout)
	}
	for _, instruction := range dockerfile(t) {
		if instruction[0] != "EXPOSE" {
			continue
		}
		for port := range strings.FieldsSeq(instruction[1]) {
			if !slices.ContainsFunc(lb.Ports, func(p string) bool { return strings.HasSuffix(p, ":"+port) }) {
				t.Errorf("port %s is exposed but not published", port)
			}
		}
	}
	image := readFile(t, "Dockerfile")
	for _, flag := range regexp.MustCompile(`--path=[^"]+`).FindAllString(strings.Join(lb.Command, `"`)+`"`+image, -1) {
		if path := strings.TrimPrefix(flag, "--path="); !strings.Contains(image, "COPY config.yaml "+path+"\n") {
			t.Errorf("the image has no %s", path)
		}
	}
}

func TestTaskfile(t *testing.T) {
	var file struct {
		Tasks map[string]struct {
			Desc string
			Cmds []string
		}
	}
	readYAML(t, "Taskfile.yml", &file)
	for _, name := range []string{"start", "lb", "lb-r", "servers", "dk_up", "dk_down", "bench", "bench-small"} {
		if _, ok := file.Tasks[name]; !ok {
			t.Errorf("there is no task %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(file.Tasks)) {
		task := file.Tasks[name]
		if task.Desc == "" || len(task.Cmds) == 0 {
			t.Errorf("task %s has no description or no command", name)
		}
		for _, cmd := range task.Cmds {
			requireCommand(t, name, strings.Fields(cmd))
		}
	}
}

// requireCommand checks that a command of the Taskfile would run, with its flags.
func requireCommand(t *testing.T, task string, args []string) {
	t.Helper()
	switch {
	case args[0] == "go" && args[1] == "run":
		args = slices.DeleteFunc(args, func(a string) bool { return a == "-race" }) // only slower to build
		for _, a := range args {
			if path, ok := strings.CutPrefix(a, "--path="); ok {
				readFile(t, path)
			}
		}
		var stderr bytes.Buffer
		cmd := exec.Command("go", append(args[1:], "--help")...)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("task %s: %s --help: %v\n%s", task, strings.Join(args, " "), err, &stderr)
		}
	case args[0] == "go" && slices.Contains([]string{"test", "build", "vet"}, args[1]):
	case args[0] == "docker" && args[1] == "compose" && slices.Contains([]string{"up", "down"}, args[2]):
	default:
		t.Errorf("task %s: no test checks %q", task, args)
	}
}
