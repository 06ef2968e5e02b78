package main

import (
	"bytes"
	"errors"
	"flag"
	"runtime/debug"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	valid := writeConfig(t, smallest)
	tests := []struct {
		name, stdout, failure string
		args                  []string
	}{
		{"help", "lb [--check] [--demo] [--path=FILE] [--version] [--watch]", "", []string{"--help"}},
		{"short help", "--demo ", "", []string{"-h"}},
		{"help as a command", "lb healthcheck [--path=FILE] [--timeout=TIME]", "", []string{"help"}},
		{"help of a command", "lb check [--path=FILE]\n\n--path=FILE   the config file; config.yaml by default\n", "", []string{"check", "--help"}},
		{"help, asked for a command", "lb version: print the version\n\nlb version\n", "", []string{"help", "version"}},
		{"help of help", "lb help [COMMAND]", "", []string{"help", "help"}},
		{"help of no command", "", `lb: unknown command "start": use check, `, []string{"help", "start"}},
		{"help with too much", "", `lb check: unexpected argument "version"`, []string{"help", "check", "version"}},
		{"check as a command", valid + " is valid", "", []string{"check", "--path=" + valid}},
		{"version", "lb ", "", []string{"version"}},
		{"version as a flag", "lb ", "", []string{"--version"}},
		{"check", valid + " is valid", "", []string{"--check", "--path=" + valid}},
		{"unknown flag", "", "lb: flag provided but not defined: -pth; use --check, --demo, --path, --version, --watch or --help; see lb --help", []string{"--pth=x"}},
		{"flag without its value", "", "lb: flag needs an argument: -path; use ", []string{"--path"}},
		{"wrong bool", "", `lb: invalid boolean value "maybe" for -demo`, []string{"--demo=maybe"}},
		{"unknown command", "", `lb: unknown command "start": use check, explain, healthcheck, top, version or help, or flags alone to start; see lb --help`, []string{"start"}},
		{"command without a name", "", `lb: unknown command ""`, []string{""}},
		{"command behind a flag", "", `lb: unexpected argument "check": flags stand behind the name of a command, as in lb check --help`, []string{"--demo", "check"}},
		{"unknown flag of a command", "", "lb check: flag provided but not defined: -demo; use --path or --help; see lb check --help", []string{"check", "--demo"}},
		{"argument of a command", "", `lb version: unexpected argument "x"; see lb version --help`, []string{"version", "x"}},
		{"no URL", "", "lb top: --management=localhost:8081 is invalid without http:// or https://: use http://host:port, https://host:port or unix:/path", []string{"top", "--management=localhost:8081"}},
		{"no time", "", "lb healthcheck: --timeout=0s is invalid: use a time above 0", []string{"healthcheck", "--timeout=0s"}},
		{"missing file", "", "--path=FILE", []string{"--path=" + valid + ".missing"}},
		{"bad file", "", "unknown_policy.yaml:4: pools.main.balance", []string{"--path=testdata/config/bad/unknown_policy.yaml"}},
		{"bad file, checked by the command", "", "unknown_policy.yaml:4: pools.main.balance", []string{"check", "--path=testdata/config/bad/unknown_policy.yaml"}},
		{"bad file, checked", "", "unknown_policy.yaml:4: pools.main.balance", []string{"--check", "--path=testdata/config/bad/unknown_policy.yaml"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout bytes.Buffer
			err := run(t.Context(), tt.args, &stdout)
			if !strings.Contains(stdout.String(), tt.stdout) || tt.stdout == "" && stdout.Len() > 0 {
				t.Errorf("stdout is %q, want %q in it", stdout.String(), tt.stdout)
			}
			if tt.failure == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var usage usageError
			if err == nil || !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.failure) {
				t.Errorf("got %v, want a usageError with %q", err, tt.failure)
			}
		})
	}
}

// The page of the commands names each of them, as help does, with every flag.
func TestCommandsPage(t *testing.T) {
	page := readFile(t, "docs/commands.md")
	for _, c := range commands() {
		if !strings.Contains(page, c.synopsis()) {
			t.Errorf("docs/commands.md lacks %s", c.synopsis())
		}
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		c.flags(flags)
		for _, name := range flagNames(flags) {
			if !strings.Contains(page, "`"+name) {
				t.Errorf("docs/commands.md does not explain %s", name)
			}
		}
	}
}

func TestBuild(t *testing.T) {
	marked := &debug.BuildInfo{Main: debug.Module{Version: "v1.1.0"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: "true"}, {Key: "vcs.time", Value: "2026-11-01T00:00:00Z"},
	}}
	for _, tt := range []struct {
		flags build
		info  *debug.BuildInfo
		want  string
	}{
		{build{}, marked, "lb v1.1.0, commit 0123abc with changes, 2026-11-01T00:00:00Z, go"},
		{build{"v1.2.0", "4567def", "2026-11-02T00:00:00Z"}, marked, "lb v1.2.0, commit 4567def, 2026-11-02T00:00:00Z, go"},
		{build{}, &debug.BuildInfo{}, "lb (devel), commit unknown, date unknown, go"},
	} {
		if got := tt.flags.completed(tt.info).String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %q, want %q at its beginning", got, tt.want)
		}
	}
}
