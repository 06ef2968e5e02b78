// The command architecture draws docs/architecture.svg: the packages that the balancer is made of,
// and which imports which.
//
// The imports are those that go list finds, so the picture cannot differ from the code, and every
// arrow points down. The same imports give the same bytes. The command knows no package by name.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

const module = "loadbalancer"

// imports maps each package, by its path in the module, to those of the module that it imports, in
// order. The module's own package, which is the balancer's main, is "main".
type imports map[string][]string

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	all, root, err := load()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "docs", "architecture.svg"), draw(all.reachedFrom("main")), 0o644)
}

// load returns the imports of the module's packages, without those of tests, and the module's
// folder.
func load() (all imports, root string, err error) {
	loaded, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedImports | packages.NeedModule}, module+"/...")
	if err != nil {
		return nil, "", fmt.Errorf("list the packages: %w", err)
	}
	all = imports{}
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			return nil, "", fmt.Errorf("list %s: %w", p.PkgPath, p.Errors[0])
		}
		name := nameOf(p.PkgPath)
		root = p.Module.Dir
		all[name] = []string{}
		for path := range p.Imports {
			if strings.HasPrefix(path, module+"/") {
				all[name] = append(all[name], nameOf(path))
			}
		}
		slices.Sort(all[name])
	}
	return all, root, nil
}

// nameOf returns a package's name in the picture.
func nameOf(path string) string {
	if path == module {
		return "main"
	}
	return strings.TrimPrefix(path, module+"/")
}

// reachedFrom returns the part of the imports that a package needs.
func (all imports) reachedFrom(name string) imports {
	part := imports{}
	for open := []string{name}; len(open) > 0; open = open[1:] {
		if _, known := part[open[0]]; !known {
			part[open[0]] = all[open[0]]
			open = append(open, all[open[0]]...)
		}
	}
	return part
}

// implied reports whether a package would be needed by another if the other did not import it
// itself, since something else that the other imports needs it.
func (all imports) implied(from, to string) bool {
	for _, other := range all[from] {
		if _, needed := all.reachedFrom(other)[to]; other != to && needed {
			return true
		}
	}
	return false
}
