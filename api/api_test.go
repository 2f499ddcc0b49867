package api_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

func TestTheDocumentIsValid(t *testing.T) {
	t.Parallel()
	if _, err := api.Load(); err != nil {
		t.Error(err)
	}
}

// Some readers of YAML do not follow anchors.
func TestNothingIsSaidByReference(t *testing.T) {
	t.Parallel()
	for number, line := range strings.Split(string(api.YAML), "\n") {
		if regexp.MustCompile(`^[^'"#|]*[:-] [&*]\w`).MatchString(line) {
			t.Errorf("line %d has an anchor: %s", number+1, line)
		}
	}
	message, last := load(t).Components.Schemas["Message"].Value, load(t).Components.Schemas["LastMessage"].Value
	message.Nullable, message.Description = last.Nullable, last.Description
	if text(t, message) != text(t, last) {
		t.Error("a LastMessage is no Message")
	}
}

func TestJSONIsTheSameDocument(t *testing.T) {
	t.Parallel()
	written, err := api.JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := openapi3.NewLoader().LoadFromData(written)
	if err != nil {
		t.Fatal(err)
	}
	if text(t, fromJSON) != text(t, load(t)) {
		t.Error("read from JSON it is another document than read from YAML")
	}
}

func text(t *testing.T, document any) string {
	t.Helper()
	written, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

// load reads the document as it is written, which is what its readers and their generators have.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(api.YAML)
	if err != nil {
		t.Fatal(err)
	}
	return document
}
