// Package contracttest validates what a server sends in tests against the OpenAPI document.
//
// A Transport carries a test's requests: a response, an event of a stream or a header that the
// document does not declare fails the test, whatever the test is about. CheckFrame does the same
// for WebSocket frames.
//
// The package records for the process which declared responses, headers, properties and nulls
// were exercised. CheckCoverage and CheckFrameCoverage, called at the end of TestMain, fail the
// run if a declared one was never exercised.
//
// # Concurrency
//
// Tests run in parallel and share the document and the recorded coverage. The document is read
// only after init. A mutex guards the coverage. Every exported function is safe for concurrent
// use.
package contracttest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"parley/api"
)

func init() {
	// kin-openapi has no validator for uuid. Request schemas do not use this format.
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		id, err := uuid.Parse(text)
		if err == nil && id.String() != text {
			err = errors.New("not in canonical form")
		}
		return err
	}))
}

// document is a copy of the contract in which every object is closed unless it is declared as
// free-form. The published document leaves objects open, so that clients accept new fields.
var document = closeObjects(api.Load())

var operations = readOperations()

func closeObjects(document *openapi3.T, err error) *openapi3.T {
	if err != nil {
		panic(err)
	}
	parts := map[*openapi3.Schema]bool{} // schemas that others extend by allOf
	for _, schema := range document.Components.Schemas {
		for _, part := range schema.Value.AllOf {
			parts[part.Value] = true
		}
	}
	seen := map[*openapi3.Schema]bool{}
	var closeObject func(ref *openapi3.SchemaRef)
	closeObject = func(ref *openapi3.SchemaRef) {
		if ref == nil || seen[ref.Value] {
			return
		}
		schema := ref.Value
		seen[schema] = true
		isWhole := len(schema.AllOf) == 0 && !parts[schema]
		if isWhole && len(schema.Properties) > 0 && schema.AdditionalProperties.Has == nil && schema.AdditionalProperties.Schema == nil && schema.Extensions["x-free"] != true {
			schema.AdditionalProperties.Has = new(false)
		}
		for _, property := range schema.Properties {
			closeObject(property)
		}
		for _, variant := range slices.Concat(schema.OneOf, schema.AnyOf) {
			closeObject(variant)
		}
		closeObject(schema.Items)
	}
	for _, schema := range document.Components.Schemas {
		closeObject(schema)
	}
	return document
}

// schemaNamed returns one of the document's schemas.
func schemaNamed(name string) *openapi3.Schema {
	found := document.Components.Schemas[name]
	if found == nil {
		panic(fmt.Sprintf("the document has no schema %s", name))
	}
	return found.Value
}

// CheckFrame validates a text frame that the server sent.
func CheckFrame(text []byte) error { return CheckSchema("ServerFrame", text) }

// CheckSchema validates a JSON text against one of the document's schemas.
func CheckSchema(name string, text []byte) error {
	if err := checkJSON(exercised, schemaNamed(name), text); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}
