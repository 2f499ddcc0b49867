// Package api holds the OpenAPI document: the contract that the server enforces and serves.
package api

import (
	_ "embed"
	"fmt"
	"maps"

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
// older client generators, which have no type for a map with declared properties, nor for a value of
// any type unless it is a composition.
func merge(schema *openapi3.Schema) {
	for _, ref := range schema.AllOf {
		part := ref.Value
		merge(part)
		if schema.Type == nil {
			schema.Type = part.Type
		}
		if part.AdditionalProperties.Has != nil || part.AdditionalProperties.Schema != nil {
			schema.AdditionalProperties = part.AdditionalProperties
		}
		schema.Required = append(schema.Required, part.Required...)
		if schema.Properties == nil && part.Properties != nil {
			schema.Properties = openapi3.Schemas{}
		}
		maps.Copy(schema.Properties, part.Properties)
	}
	schema.AllOf = nil
	for _, property := range schema.Properties {
		merge(property.Value)
	}
	if schema.Items != nil {
		merge(schema.Items.Value)
	}
}
