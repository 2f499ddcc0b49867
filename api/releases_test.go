package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// What was released is kept as it was, under its version, and the changelog tells of it.
func TestEachReleaseIsKeptAndTold(t *testing.T) {
	t.Parallel()
	changelog, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(changelog)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			version, _, _ := strings.Cut(strings.TrimSpace(title), " ")
			told[version] = true
		}
	}
	if !told["Unreleased"] {
		t.Error("the changelog has no section Unreleased")
	}
	releases, err := filepath.Glob("releases/*.yaml")
	if err != nil || len(releases) == 0 {
		t.Fatalf("there is no release: %v", err)
	}
	for _, file := range releases {
		version := strings.TrimSuffix(filepath.Base(file), ".yaml")
		document, err := openapi3.NewLoader().LoadFromFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if document.Info.Version != version {
			t.Errorf("%s is version %s", file, document.Info.Version)
		}
		if !told[version] {
			t.Errorf("the changelog does not tell of %s", version)
		}
		delete(told, version)
	}
	delete(told, "Unreleased")
	for version := range told {
		t.Errorf("the document of %s is not in api/releases", version)
	}
}
