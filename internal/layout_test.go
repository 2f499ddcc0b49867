package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "parley"

// everything permits all imports. It is for the programs, which assemble the packages.
const everything = "*"

// allowedImports lists each package and the packages of this project that it may import. Imports go from the edge through the
// domain and the store to generated code. Changing the list is an architecture decision: the same commit changes
// ARCHITECTURE.md and explains why. Tests may import more.
var allowedImports = map[string][]string{
	"cmd/server": {everything},
	// The module e2e. Only its commands depend on the product.
	"e2e/bench":     {everything},
	"e2e/chaos":     {everything},
	"e2e/isolation": {everything},
	"e2e/openaigo":  {"e2e/harness"},
	"e2e/sdkcheck":  {"client", "gen/client", "e2e/harness"},
	"e2e/harness":   {},

	"tools/notices": {}, // in the module tools

	"client":      {"gen/client"},
	"conformance": {}, // imports nothing of the project, because it checks only the API

	"internal/contracttest": {"api"},

	"internal/jsontext": {"internal/apperr"},
	"internal/shape":    {"api"},
	"internal/httpapi": {
		"internal/httpapi/contract", "internal/httpapi/docs", "internal/httpapi/openai", "internal/httpapi/eventstream", "internal/httpapi/paging", "internal/httpapi/recordfile", "internal/clientaddr", "internal/jsontext", "internal/metrics", "internal/trace",
		"api", "internal/audit", "internal/auth", "internal/bot", "internal/faq", "internal/reply", "internal/run", "internal/chat", "internal/fair", "internal/inbox", "internal/records", "internal/ratelimit", "internal/realtime",
		"internal/apperr", "gen/openapi", "gen/db",
	},
	"internal/httpapi/docs":   {"internal/clientaddr"},
	"internal/httpapi/paging": {"internal/httpapi/contract", "internal/apperr"},
	"internal/httpapi/openai": {
		"internal/httpapi/contract", "internal/httpapi/eventstream",
		"internal/auth", "internal/bot", "internal/reply", "internal/run", "internal/chat", "internal/store", "internal/apperr", "gen/openapi", "gen/db",
	},
	"internal/httpapi/contract": {
		"internal/clientaddr", "internal/fair", "internal/jsontext", "internal/metrics", "internal/shape", "internal/trace",
		"internal/audit", "internal/auth", "internal/origin", "internal/ratelimit", "internal/store", "internal/apperr", "gen/openapi",
	},
	"internal/httpapi/recordfile": {
		"internal/httpapi/contract", "internal/httpapi/eventstream", "internal/jsontext", "internal/trace", "gen/db",
	},
	"internal/httpapi/eventstream": {"internal/jsontext", "internal/reply", "internal/apperr"},
	"internal/wsapi": {
		"internal/clientaddr", "internal/jsontext", "internal/shape", "internal/trace",
		"internal/auth", "internal/reply", "internal/feed", "internal/visit", "internal/chat", "internal/origin", "internal/ratelimit", "internal/store", "internal/apperr",
		"gen/openapi", "gen/db",
	},

	"internal/reply": {"internal/bot", "internal/apperr"},
	"internal/feed":  {"internal/reply", "internal/realtime", "internal/store", "internal/apperr", "gen/db"},
	"internal/run":   {"internal/reply", "internal/feed", "internal/bot", "internal/trace", "internal/store", "internal/apperr", "gen/db"},
	"internal/visit": {"internal/reply", "internal/feed", "internal/bot", "internal/realtime", "internal/store", "internal/apperr", "gen/db"},
	"internal/inbox": {"internal/bot", "internal/origin", "internal/audit", "internal/store", "internal/apperr", "gen/db"},
	"internal/chat": {
		"internal/reply", "internal/feed", "internal/run", "internal/inbox", "internal/trace",
		"internal/audit", "internal/auth", "internal/bot", "internal/store", "internal/apperr", "gen/db",
	},
	"internal/records":   {"internal/audit", "internal/fair", "internal/auth", "internal/store", "internal/xlsx", "internal/apperr", "gen/db"},
	"internal/auth":      {"internal/audit", "internal/origin", "internal/secret", "internal/realtime", "internal/store", "internal/apperr", "gen/db"},
	"internal/bot":       {"internal/audit", "internal/secret", "internal/metrics", "internal/store", "internal/apperr", "gen/db"},
	"internal/faq":       {"internal/bot", "internal/audit", "internal/sheet", "internal/store", "internal/apperr", "gen/db"},
	"internal/llm":       {"internal/bot", "internal/egress", "internal/faq", "internal/secret", "internal/trace", "internal/apperr", "gen/db"},
	"internal/audit":     {"internal/store", "gen/db"},
	"internal/ratelimit": {"internal/realtime", "internal/apperr"},

	"internal/store":      {"db", "internal/fair", "internal/trace", "internal/apperr", "gen/db"},
	"internal/backup":     {"internal/localpg"},
	"internal/realtime":   {},
	"internal/fair":       {},
	"internal/xlsx":       {},
	"internal/sheet":      {"internal/apperr"},
	"internal/localpg":    {},
	"internal/secret":     {},
	"internal/apperr":     {},
	"internal/metrics":    {},
	"internal/trace":      {},
	"internal/origin":     {},
	"internal/clientaddr": {},
	"internal/egress":     {},
	"internal/dbtest":     {"db", "internal/store", "internal/localpg"},
	"internal/bottest":    {"internal/bot", "internal/egress", "internal/faq", "internal/llm", "internal/secret", "internal/store", "gen/db"},
	"internal/chattest": {
		"internal/reply", "internal/feed", "internal/run", "internal/visit", "internal/inbox", "internal/chat",
		"internal/auth", "internal/bot", "internal/bottest", "internal/dbtest", "internal/realtime", "internal/redistest", "internal/store", "internal/apperr", "gen/db",
	},
	"internal/redistest": {},

	"api":         {},
	"db":          {},
	"gen/openapi": {},
	"gen/client":  {},
	"gen/db":      {},
}

// libraries names the packages that may import a library. Replacing a library then affects only these packages.
var libraries = map[string][]string{
	"github.com/labstack/echo":  {"internal/httpapi", "internal/httpapi/contract", "internal/httpapi/docs", "gen/openapi"},
	"github.com/redis/go-redis": {"internal/realtime", "internal/ratelimit"},
	"github.com/prometheus":     {"internal/metrics"},
	"go.opentelemetry.io":       {"internal/trace"},
	"github.com/Shopify":        {"e2e/chaos"},
}

// vague are package names that describe the kind of the contents, not their purpose.
var vague = []string{"util", "utils", "common", "models", "types", "helpers"}

// TestLayout reads the source files instead of calling the go command. It thus covers files with build tags, and the
// test cache detects every change.
func TestLayout(t *testing.T) {
	t.Parallel()
	for directory, p := range packages(t) {
		allowed, known := allowedImports[directory]
		if !known {
			t.Errorf("%s is not on the map: give it a line in allowedImports and in ARCHITECTURE.md", directory)
		}
		if slices.Contains(vague, path.Base(directory)) || slices.Contains(vague, p.name) {
			t.Errorf("%s: name the package for what it gives, or put the code beside its user", directory)
		}
		if !p.documented && !strings.HasPrefix(directory, "gen/") {
			t.Errorf("%s has no package comment", directory)
		}
		for imported, file := range p.imports {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, ours) && !slices.Contains(allowed, everything) {
					t.Errorf("%s: %s may not import %s", file, directory, ours)
				}
			}
			for library, users := range libraries {
				if strings.HasPrefix(imported, library) && !slices.Contains(users, directory) {
					t.Errorf("%s: only %s may import %s", file, strings.Join(users, " and "), library)
				}
			}
		}
	}
}

type pkg struct {
	name       string
	documented bool
	imports    map[string]string // the import path, and a file that imports it
}

// packages finds every package of both modules by its directory. Test files are ignored.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	root := os.DirFS("..")
	found := map[string]*pkg{}
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if isIgnoredByGo(file) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		room := path.Dir(file)
		if found[room] == nil {
			found[room] = &pkg{name: syntax.Name.Name, imports: map[string]string{}}
		}
		found[room].add(file, syntax)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// isIgnoredByGo reports whether the go command ignores the directory.
func isIgnoredByGo(dir string) bool {
	if dir == "." {
		return false
	}
	base := path.Base(dir)
	return base == "testdata" || base == "vendor" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
}

func (p *pkg) add(file string, syntax *ast.File) {
	comment := syntax.Doc.Text()
	if strings.HasPrefix(comment, "Package "+p.name+" ") || p.name == "main" && comment != "" {
		p.documented = true
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			p.imports[imported] = file
		}
	}
}
