package internal_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md names, for each promise, the test that verifies it.
func TestSecurityPageNamesExistingTestsAndFiles(t *testing.T) {
	t.Parallel()
	root := os.DirFS("..")
	page, err := fs.ReadFile(root, "SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && notOurs(file):
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
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 15 {
		t.Errorf("only %d tests are named: %v", len(names), names)
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "func "+name[1]+"(") {
			t.Errorf("SECURITY.md names %s, which does not exist", name[1])
		}
	}
	for _, path := range regexp.MustCompile("`((?:internal|db|cmd)/[a-z_/.]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := fs.Stat(root, path[1]); err != nil {
			t.Error(err)
		}
	}
}
