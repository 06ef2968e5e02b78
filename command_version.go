package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// What a release's build sets, with -ldflags "-X main.version=v1.2.3 -X main.commit=… -X
// main.date=…". Without these, the version control's marks in the binary count.
var version, commit, date string

// versionCommand prints the version.
func versionCommand(*flag.FlagSet) action {
	return func(_ context.Context, _ []string, stdout io.Writer) error { return printVersion(stdout) }
}

func printVersion(stdout io.Writer) error {
	_, err := fmt.Fprintln(stdout, currentBuild())
	return err
}

// build says what the binary was built from.
type build struct{ version, commit, date string }

// currentBuild returns the build of this binary.
func currentBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return build{version, commit, date}.completed(info)
}

// completed takes from info what the build's flags did not set. The date is then the commit's.
func (b build) completed(info *debug.BuildInfo) build {
	marks := map[string]string{}
	for _, s := range info.Settings {
		marks[s.Key] = s.Value
	}
	revision := marks["vcs.revision"]
	if marks["vcs.modified"] == "true" {
		revision += " with changes"
	}
	return build{cmp.Or(b.version, info.Main.Version, "(devel)"), cmp.Or(b.commit, revision), cmp.Or(b.date, marks["vcs.time"])}
}

// String is what lb version prints.
func (b build) String() string {
	return fmt.Sprintf("lb %s, commit %s, %s, %s %s/%s", b.version, cmp.Or(b.commit, "unknown"),
		cmp.Or(b.date, "date unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
