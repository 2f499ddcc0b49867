package internal_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md names the test that verifies each promise.
func TestSecurityPageNamesExistingTestsAndFiles(t *testing.T) {
	t.Parallel()
	root := os.DirFS("..")
	page, err := fs.ReadFile(root, "SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testSources(t, root)
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 15 {
		t.Errorf("only %d tests are named: %v", len(names), names)
	}
	for _, name := range names {
		if !strings.Contains(tests, "func "+name[1]+"(") {
			t.Errorf("SECURITY.md names %s, which does not exist", name[1])
		}
	}
	for _, path := range regexp.MustCompile("`((?:internal|db|cmd)/[a-z_/.]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := fs.Stat(root, path[1]); err != nil {
			t.Error(err)
		}
	}
}

// Pages name tests in backquotes. Commands name tests after -run, or by the beginning of their names.
func TestPagesAndCommandsNameExistingTests(t *testing.T) {
	t.Parallel()
	root := os.DirFS("..")
	tests := testSources(t, root)
	named := regexp.MustCompile("(`|-run '?\\^?)((?:Test|Fuzz)[A-Z][A-Za-z]*)(`|\\$)?")
	for _, pattern := range []string{"*.md", "docs/*.md", "Makefile", ".ci/*"} {
		files, err := fs.Glob(root, pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files match %s: %v", pattern, err)
		}
		for _, file := range files {
			if file == "CHANGELOG.md" { // describes releases, whose tests may have been renamed since then
				continue
			}
			text, err := fs.ReadFile(root, file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range named.FindAllStringSubmatch(string(text), -1) {
				declaration := "func " + name[2]
				if name[3] != "" {
					declaration += "("
				}
				if !strings.Contains(tests, declaration) {
					t.Errorf("%s names %s, which does not exist", file, name[2])
				}
			}
		}
	}
}

// testSources returns the text of all test files.
func testSources(t *testing.T, root fs.FS) string {
	t.Helper()
	var tests strings.Builder
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && isIgnoredByGo(file):
			return fs.SkipDir
		case strings.HasSuffix(file, "_test.go"):
			source, err := fs.ReadFile(root, file)
			tests.Write(source)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests.String()
}
