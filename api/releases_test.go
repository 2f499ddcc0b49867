package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The document of each release is kept in api/releases, and the changelog has a section for it.
func TestReleasesAreKeptAndInChangelog(t *testing.T) {
	t.Parallel()
	changelog, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(changelog)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			version, _, _ := strings.Cut(strings.TrimSpace(title), " ")
			sections[version] = true
		}
	}
	if !sections["Unreleased"] {
		t.Error("the changelog has no section Unreleased")
	}
	releases, err := filepath.Glob("releases/*.yaml")
	if err != nil || len(releases) == 0 {
		t.Fatalf("no releases found: %v", err)
	}
	for _, file := range releases {
		version := strings.TrimSuffix(filepath.Base(file), ".yaml")
		document, err := openapi3.NewLoader().LoadFromFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if document.Info.Version != version {
			t.Errorf("%s has the version %s", file, document.Info.Version)
		}
		if !sections[version] {
			t.Errorf("the changelog has no section for %s", version)
		}
		delete(sections, version)
	}
	delete(sections, "Unreleased")
	for version := range sections {
		t.Errorf("the document of %s is not in api/releases", version)
	}
}
