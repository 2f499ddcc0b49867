package internal_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md promises nothing that no test holds: each test and each file that it names is there.
func TestWhatHoldsThePromisesIsThere(t *testing.T) {
	t.Parallel()
	root := os.DirFS("..")
	promises, err := fs.ReadFile(root, "SECURITY.md")
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
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(string(promises), -1)
	if len(named) < 15 {
		t.Errorf("only these are named: %v", named)
	}
	for _, name := range named {
		if !strings.Contains(tests.String(), "func "+name[1]+"(") {
			t.Errorf("there is no %s", name[1])
		}
	}
	for _, path := range regexp.MustCompile("`((?:internal|db|cmd)/[a-z_/.]+)`").FindAllStringSubmatch(string(promises), -1) {
		if _, err := fs.Stat(root, path[1]); err != nil {
			t.Error(err)
		}
	}
}
