// Package api is the contract: the OpenAPI document that the server enforces and
// serves.
package api

import (
	_ "embed"
	"fmt"

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

// Load returns the document as a tree of its own for each caller, valid and with
// its references resolved.
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
	return document, nil
}
