package api_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	if _, err := api.Load(); err != nil {
		t.Error(err)
	}
}

// Some YAML parsers do not support anchors. LastMessage therefore repeats the fields of Message.
func TestDocumentHasNoYAMLAnchors(t *testing.T) {
	t.Parallel()
	for number, line := range strings.Split(string(api.YAML), "\n") {
		if regexp.MustCompile(`^[^'"#|]*[:-] [&*]\w`).MatchString(line) {
			t.Errorf("line %d has an anchor: %s", number+1, line)
		}
	}
	message, last := load(t).Components.Schemas["Message"].Value, load(t).Components.Schemas["LastMessage"].Value
	message.Nullable, message.Description = last.Nullable, last.Description
	if encode(t, message) != encode(t, last) {
		t.Error("LastMessage differs from Message")
	}
}

func TestJSONEqualsYAML(t *testing.T) {
	t.Parallel()
	written, err := api.JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := openapi3.NewLoader().LoadFromData(written)
	if err != nil {
		t.Fatal(err)
	}
	if encode(t, fromJSON) != encode(t, load(t)) {
		t.Error("the JSON document differs from the YAML document")
	}
}

func encode(t *testing.T, document any) string {
	t.Helper()
	written, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

// load parses the document without merging its allOf compositions, as client generators do.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(api.YAML)
	if err != nil {
		t.Fatal(err)
	}
	return document
}
