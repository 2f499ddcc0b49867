// Package api holds the OpenAPI document: the contract that the server enforces and serves.
package api

import (
	_ "embed"
	"fmt"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oasdiff/yaml"
)

// YAML is the document in its source form.
//
//go:embed openapi.yaml
var YAML []byte

// JSON returns the document as JSON with its keys in alphabetical order.
func JSON() ([]byte, error) {
	document, err := yaml.YAMLToJSON(YAML)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	return document, nil
}

// Load parses and validates the document, resolves its references and merges its compositions. Each
// call returns a new tree, which the caller may change.
func Load() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(YAML)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	// A test validates the examples, so that servers need not validate them at each start.
	if err := document.Validate(loader.Context, openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("validate the OpenAPI document: %w", err)
	}
	for _, schema := range document.Components.Schemas {
		merge(schema.Value)
	}
	return document, nil
}

// merge copies the constraints of a composition's parts into the schema itself, so that a body is
// validated once and each violation is reported once. The document keeps the parts separate for
// older client generators. These map is_streaming and isStreaming to one name if both are
// properties of one schema, and they have no type for a value of any type unless it is a
// composition.
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
			addProperty(schema, name, property)
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

// addProperty adds a property to a schema. If the schema already has it, its properties are added
// to the existing one.
func addProperty(schema *openapi3.Schema, name string, property *openapi3.SchemaRef) {
	if schema.Properties == nil {
		schema.Properties = openapi3.Schemas{}
	}
	existing, ok := schema.Properties[name]
	if !ok {
		schema.Properties[name] = property
		return
	}
	for name, property := range property.Value.Properties {
		addProperty(existing.Value, name, property)
	}
}

// parts returns the schemas of a composition that all apply: those of allOf, and that of a single
// anyOf.
func parts(schema *openapi3.Schema) openapi3.SchemaRefs {
	if len(schema.AnyOf) == 1 {
		return append(slices.Clone(schema.AllOf), schema.AnyOf...)
	}
	return schema.AllOf
}
