package api_test

import (
	"encoding/json"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

func TestTheDocumentIsValid(t *testing.T) {
	t.Parallel()
	load(t)
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

func text(t *testing.T, document *openapi3.T) string {
	t.Helper()
	written, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

func load(t *testing.T) *openapi3.T {
	t.Helper()
	document, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	return document
}
