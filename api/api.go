// Package api is the contract: the OpenAPI document that the server enforces and
// serves.
package api

import (
	_ "embed"
	"fmt"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oasdiff/yaml"
)

// YAML is the document as it is written.
//
//go:embed openapi.yaml
var YAML []byte

// JSON returns the document as JSON, its keys in alphabetical order.
func JSON() ([]byte, error) {
	document, err := yaml.YAMLToJSON(YAML)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	return document, nil
}

// Load returns the document as a tree of its own for each caller, valid, with its
// references resolved and its compositions merged.
func Load() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(YAML)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	// Its examples are held against their schemas by a test, once, and not by each server that starts.
	if err := document.Validate(loader.Context, openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("validate the OpenAPI document: %w", err)
	}
	for _, schema := range document.Components.Schemas {
		merge(schema.Value)
	}
	return document, nil
}

// merge puts what the parts of a composition say into the schema that has them, for
// whoever enforces it: a body is looked at once, and a mistake in it told once. The
// document has them apart for generators of clients. Older ones make one name of
// is_streaming and isStreaming where both are properties of one schema, and have no type
// for a value that may be anything unless it is a composition.
func merge(schema *openapi3.Schema) {
	for _, ref := range parts(schema) {
		part := ref.Value
		merge(part)
		if schema.Type == nil {
			schema.Type = part.Type
		}
		if part.AdditionalProperties.Has != nil || part.AdditionalProperties.Schema != nil {
			schema.AdditionalProperties = part.AdditionalProperties
		}
		schema.Required = append(schema.Required, part.Required...)
		for name, property := range part.Properties {
			put(schema, name, property)
		}
	}
	schema.AllOf = nil
	if len(schema.AnyOf) == 1 {
		schema.AnyOf = nil
	}
	for _, property := range schema.Properties {
		merge(property.Value)
	}
	if schema.Items != nil {
		merge(schema.Items.Value)
	}
}

// put adds a property to a schema, or what it says to the one that is there.
func put(schema *openapi3.Schema, name string, property *openapi3.SchemaRef) {
	if schema.Properties == nil {
		schema.Properties = openapi3.Schemas{}
	}
	there, ok := schema.Properties[name]
	if !ok {
		schema.Properties[name] = property
		return
	}
	for name, property := range property.Value.Properties {
		put(there.Value, name, property)
	}
}

// parts are the schemas all of which a composition asks for: one of one is all.
func parts(schema *openapi3.Schema) openapi3.SchemaRefs {
	if len(schema.AnyOf) == 1 {
		return append(slices.Clone(schema.AllOf), schema.AnyOf...)
	}
	return schema.AllOf
}
