package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// mayImport is the plan of the module: for each package, the packages of this module that it may
// import. The arrows point down. A package that is missing here fails the test, as does one that is
// gone.
var mayImport = map[string][]string{
	"":                         {"bench/backend", "clients", "clients/store", "limiter", "limiter/shared", "management", "management/top", "proxy", "proxy/acme", "proxy/listen", "proxy/routes", "proxy/upstream", "state"},
	"bench":                    {"bench/backend", "bench/load", "bench/report"},
	"bench/backend":            {},
	"bench/balancer":           {},
	"bench/load":               {},
	"bench/nettest":            {},
	"bench/report":             {"bench/load"},
	"bench/zone":               {},
	"clients":                  {"clients/rest", "clients/store", "limiter"},
	"clients/faults":           {},
	"clients/rest":             {},
	"clients/store":            {"limiter"},
	"clients/store/pgtest":     {"bench/nettest"},
	"docs/architecture":        {},
	"docs/balancing":           {"proxy/balance"},
	"docs/bucket":              {"limiter"},
	"docs/described":           {},
	"docs/fleet":               {},
	"docs/health":              {},
	"healthz":                  {},
	"limiter":                  {},
	"limiter/shared":           {"limiter", "limiter/shared/member"},
	"limiter/shared/central":   {"limiter", "limiter/shared/member"},
	"limiter/shared/member":    {"limiter"},
	"limiter/shared/model":     {},
	"limiter/shared/faults":    {},
	"limiter/shared/redistest": {"bench/balancer"},
	"management":               {"clients", "clients/rest", "limiter", "management/history", "proxy", "proxy/listen", "proxy/metrics", "proxy/upstream", "proxy/wire"},
	"management/history":       {"proxy/metrics"},
	"management/top":           {},
	"proxy":                    {"limiter", "proxy/balance", "proxy/ends", "proxy/http1", "proxy/http2", "proxy/message", "proxy/metrics", "proxy/reason", "proxy/routes", "proxy/upstream"},
	"proxy/acme":               {},
	"proxy/acme/acmetest":      {"proxy/certtest"},
	"proxy/acme/balancers":     {},
	"proxy/balance":            {},
	"proxy/certtest":           {},
	"proxy/ends":               {"proxy/message", "proxy/reason", "proxy/wire"},
	"proxy/http1":              {"proxy/ends", "proxy/message", "proxy/reason", "proxy/wire"},
	"proxy/http2":              {"proxy/ends", "proxy/message", "proxy/mux", "proxy/reason", "proxy/wire"},
	"proxy/listen":             {"proxy/acme"},
	"proxy/message":            {"proxy/reason"},
	"proxy/metrics":            {},
	"proxy/mux":                {"proxy/wire"},
	"proxy/reason":             {},
	"proxy/routes":             {"proxy/message", "proxy/upstream"},
	"proxy/upstream":           {"healthz", "proxy/balance", "proxy/metrics", "proxy/mux", "proxy/reason", "proxy/wire"},
	"proxy/wire":               {},
	"state":                    {},
}

// mayNameFasthttp are the files that may import fasthttp: those at the edge, where its types end.
// The road of a request does not depend on the server that reads it.
var mayNameFasthttp = []string{
	"bench/backend/backend.go",
	"bench/backend/handler.go",
	"bench/load/cause.go",
	"bench/load/client.go",
	"clients/audit_controller.go",
	"clients/controller.go",
	"clients/export_controller.go",
	"clients/import_controller.go",
	"clients/keys_controller.go",
	"clients/plans_controller.go",
	"clients/rest/body.go",
	"clients/rest/caller.go",
	"clients/rest/conditions.go",
	"clients/rest/handler.go",
	"clients/rest/lines.go",
	"clients/rest/parameters.go",
	"clients/rest/problem.go",
	"clients/rest/stream.go",
	"clients/usage_controller.go",
	"management/access.go",
	"management/api.go",
	"management/backends.go",
	"management/explain.go",
	"management/hosts.go",
	"management/page.go",
	"management/page_session.go",
	"management/profiles.go",
	"management/reload.go",
	"management/server.go",
	"management/sessions.go",
	"management/status.go",
	"management/status_stream.go",
	"proxy/api.go",
	"proxy/api_answer.go",
	"proxy/client_address.go",
	"proxy/http1/parse.go",
	"proxy/http1/request_ctx.go",
	"proxy/http1/server.go",
	"proxy/upstream/conns.go",
}

// The bounds of what one reader can hold in mind. The last three are those of package proxy, and
// the first of them of the packages below it, too.
const (
	maxFunction = 60  // lines, from func to the closing brace
	maxFile     = 400 // lines
	maxLoop     = 6   // files that reach each other by the names they use
	maxMethods  = 20  // of one type
	maxFields   = 12  // of one struct
)

const module = "loadbalancer"

// loadModule parses and type-checks every package, without its tests.
func loadModule(t *testing.T) []*packages.Package {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedSyntax |
			packages.NeedTypes | packages.NeedTypesInfo,
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range loaded {
		for _, e := range p.Errors {
			t.Fatalf("%s: %v", p.PkgPath, e)
		}
	}
	return loaded
}

// TestHouse holds the module to its plan.
func TestHouse(t *testing.T) {
	if testing.Short() {
		t.Skip("type-checks the whole module")
	}
	loaded := loadModule(t)
	t.Run("imports", func(t *testing.T) { checkImports(t, loaded) })
	t.Run("fasthttp", func(t *testing.T) { checkFasthttp(t, loaded) })
	t.Run("sizes", func(t *testing.T) { checkSizes(t, loaded) })
	for _, p := range loaded {
		if name := within(p); name == "proxy" || strings.HasPrefix(name, "proxy/") {
			t.Run("loops of "+name, func(t *testing.T) { checkLoops(t, p) })
		}
		if within(p) == "proxy" {
			t.Run("types", func(t *testing.T) { checkTypes(t, p) })
		}
	}
}

// within is a package's path in the module, "" for the root.
func within(p *packages.Package) string {
	return strings.TrimPrefix(strings.TrimPrefix(p.PkgPath, module), "/")
}

func checkImports(t *testing.T, loaded []*packages.Package) {
	gone := maps.Clone(mayImport)
	for _, p := range loaded {
		from := within(p)
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("package %q has no line in mayImport", from)
		}
		delete(gone, from)
		for path := range p.Imports {
			to, inside := strings.CutPrefix(path, module+"/")
			if inside && !slices.Contains(allowed, to) {
				t.Errorf("%q imports %q, which it may not", from, to)
			}
		}
		for _, to := range allowed {
			if p.Imports[module+"/"+to] == nil {
				t.Errorf("%q may import %q and does not: strike it", from, to)
			}
		}
	}
	for name := range gone {
		t.Errorf("mayImport has %q, which is no package", name)
	}
}

func checkFasthttp(t *testing.T, loaded []*packages.Package) {
	unused := slices.Clone(mayNameFasthttp)
	eachFile(t, loaded, func(p *packages.Package, name string, file *ast.File) {
		for _, spec := range file.Imports {
			if spec.Path.Value != `"github.com/valyala/fasthttp"` {
				continue
			}
			if !slices.Contains(mayNameFasthttp, name) {
				t.Errorf("%s imports fasthttp, which it may not", name)
			}
			unused = slices.DeleteFunc(unused, func(n string) bool { return n == name })
		}
	})
	for _, name := range unused {
		t.Errorf("%s may import fasthttp and does not: strike it", name)
	}
}

func checkSizes(t *testing.T, loaded []*packages.Package) {
	eachFile(t, loaded, func(p *packages.Package, name string, file *ast.File) {
		line := func(at token.Pos) int { return p.Fset.Position(at).Line }
		if n := line(file.FileEnd); n > maxFile {
			t.Errorf("%s has %d lines, at most %d are allowed", name, n, maxFile)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if n := line(f.End()) - line(f.Pos()) + 1; n > maxFunction {
					t.Errorf("%s: %s has %d lines, at most %d are allowed", name, f.Name.Name, n, maxFunction)
				}
			}
		}
	})
}

// checkTypes counts what hangs on one type.
func checkTypes(t *testing.T, p *packages.Package) {
	scope := p.Types.Scope()
	for _, name := range scope.Names() {
		declared, ok := scope.Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		named, ok := declared.Type().(*types.Named)
		if !ok {
			continue
		}
		if n := named.NumMethods(); n > maxMethods {
			t.Errorf("%s has %d methods, at most %d are allowed", name, n, maxMethods)
		}
		if s, ok := named.Underlying().(*types.Struct); ok && s.NumFields() > maxFields {
			t.Errorf("%s has %d fields, at most %d are allowed", name, s.NumFields(), maxFields)
		}
	}
}

// checkLoops finds the files that reach each other by the names they use.
func checkLoops(t *testing.T, p *packages.Package) {
	uses := references(p)
	reached := map[string]map[string]bool{}
	for file := range uses {
		reached[file] = reach(uses, file)
	}
	seen := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if seen[file] {
			continue
		}
		loop := []string{file}
		for other := range reached[file] {
			if other != file && reached[other][file] {
				loop = append(loop, other)
			}
		}
		for _, member := range loop {
			seen[member] = true
		}
		if len(loop) > maxLoop {
			slices.Sort(loop)
			t.Errorf("%d files reach each other, at most %d may: %s", len(loop), maxLoop, strings.Join(loop, " "))
		}
	}
}

// references maps each file of a package to the files that define what it names.
func references(p *packages.Package) map[string]map[string]bool {
	file := func(at token.Pos) string { return filepath.Base(p.Fset.Position(at).Filename) }
	uses := map[string]map[string]bool{}
	for id, object := range p.TypesInfo.Uses {
		if object.Pkg() != p.Types || object.Parent() == nil && !isMember(object) || isLocal(p, object) {
			continue
		}
		from, to := file(id.Pos()), file(object.Pos())
		if uses[from] == nil {
			uses[from] = map[string]bool{}
		}
		if from != to {
			uses[from][to] = true
		}
	}
	return uses
}

// isMember reports whether an object without a scope of its own is a field or a method.
func isMember(object types.Object) bool {
	switch o := object.(type) {
	case *types.Var:
		return o.IsField()
	case *types.Func:
		return true
	}
	return false
}

func isLocal(p *packages.Package, object types.Object) bool {
	return object.Parent() != nil && object.Parent() != p.Types.Scope()
}

// reach is every file that can be come to from one.
func reach(uses map[string]map[string]bool, from string) map[string]bool {
	found := map[string]bool{}
	for open := []string{from}; len(open) > 0; {
		file := open[0]
		open = open[1:]
		for to := range uses[file] {
			if !found[to] {
				found[to] = true
				open = append(open, to)
			}
		}
	}
	return found
}

// eachFile visits the files of the module, named by their paths in it, in order.
func eachFile(t *testing.T, loaded []*packages.Package, visit func(p *packages.Package, name string, file *ast.File)) {
	t.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(loaded, func(a, b *packages.Package) int { return cmp.Compare(a.PkgPath, b.PkgPath) })
	for _, p := range loaded {
		for i, file := range p.Syntax {
			name, err := filepath.Rel(root, p.CompiledGoFiles[i])
			if err != nil {
				t.Fatal(fmt.Errorf("%s: %w", p.PkgPath, err))
			}
			visit(p, name, file)
		}
	}
}
