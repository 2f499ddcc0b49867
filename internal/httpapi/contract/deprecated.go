package contract

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// collectDeprecated adds the deprecated fields of a schema (x-alias-of), at any depth, to found:
// the deprecated name with the current one.
func collectDeprecated(schema *openapi3.Schema, found map[string]string) {
	for name, property := range schema.Properties {
		if current, ok := property.Value.Extensions["x-alias-of"].(string); ok {
			found[name] = current
			continue
		}
		collectDeprecated(property.Value, found)
	}
	if schema.Items != nil {
		collectDeprecated(schema.Items.Value, found)
	}
}

// deprecatedPointers returns the pointers with deprecated names. They are needed for violations
// that are found before the fields are renamed.
func deprecatedPointers(pointers []string, deprecated map[string]string) []string {
	var found []string
	for _, pointer := range pointers {
		for name, current := range deprecated {
			if parent, ok := strings.CutSuffix(pointer, "/"+current); ok {
				found = append(found, parent+"/"+name)
			}
		}
	}
	return found
}

// renameDeprecated gives the deprecated fields of a body their current names. A current name wins
// over its deprecated one. Bodies without deprecated fields, which are nearly all, are not parsed.
func (op *operation) renameDeprecated(body []byte) []byte {
	mayHave := len(op.deprecatedFields) > 0 && bytes.Contains(body, []byte(`\u00`)) // keys can be escaped
	for name := range op.deprecatedFields {
		mayHave = mayHave || bytes.Contains(body, []byte(`"`+name+`"`))
	}
	if !mayHave {
		return body
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return body // the validator reports it
	}
	renameIn(document, op.route.Operation.RequestBody.Value.Content["application/json"].Schema.Value)
	renamed, err := json.Marshal(document)
	if err != nil {
		return body
	}
	return renamed
}

// renameIn renames the deprecated fields of a value that its schema declares. Free JSON is not
// changed.
func renameIn(value any, schema *openapi3.Schema) {
	switch value := value.(type) {
	case []any:
		if schema.Items == nil {
			return
		}
		for _, item := range value {
			renameIn(item, schema.Items.Value)
		}
	case map[string]any:
		for name, property := range schema.Properties {
			current, isDeprecated := property.Value.Extensions["x-alias-of"].(string)
			if !isDeprecated {
				continue
			}
			if deprecated, ok := value[name]; ok {
				if _, hasCurrent := value[current]; !hasCurrent {
					value[current] = deprecated
				}
				delete(value, name)
			}
		}
		for name, property := range schema.Properties {
			if field, ok := value[name]; ok {
				renameIn(field, property.Value)
			}
		}
	}
}
