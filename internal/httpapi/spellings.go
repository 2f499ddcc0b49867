package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// collectAliases finds the deprecated spellings that a body's schema declares
// (x-alias-of), at whatever depth: the older one by the one that counts.
func collectAliases(schema *openapi3.Schema, found map[string]string) {
	for name, property := range schema.Properties {
		if wins, ok := property.Value.Extensions["x-alias-of"].(string); ok {
			found[name] = wins
			continue
		}
		collectAliases(property.Value, found)
	}
	if schema.Items != nil {
		collectAliases(schema.Items.Value, found)
	}
}

// aliasesOf spells pointers with the deprecated keys: a mistake that is found before
// these are rewritten is of the same kind.
func aliasesOf(pointers []string, aliases map[string]string) []string {
	var found []string
	for _, pointer := range pointers {
		for older, wins := range aliases {
			if parent, ok := strings.CutSuffix(pointer, "/"+wins); ok {
				found = append(found, parent+"/"+older)
			}
		}
	}
	return found
}

// withoutAliases rewrites a body's deprecated keys, so that all that follows sees one
// spelling. A body that has none, which is almost every one, is not even parsed.
func (op *operation) withoutAliases(body []byte) []byte {
	hasAlias := len(op.aliases) > 0 && bytes.Contains(body, []byte(`\u00`)) // a key may be written with escapes
	for older := range op.aliases {
		hasAlias = hasAlias || bytes.Contains(body, []byte(`"`+older+`"`))
	}
	if !hasAlias {
		return body
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return body // the validator will say so
	}
	op.rename(document, op.route.Operation.RequestBody.Value.Content["application/json"].Schema.Value)
	renamed, err := json.Marshal(document)
	if err != nil {
		return body
	}
	return renamed
}

// rename walks a value along its schema: free JSON keeps the keys that it has.
func (op *operation) rename(value any, schema *openapi3.Schema) {
	switch value := value.(type) {
	case []any:
		if schema.Items == nil {
			return
		}
		for _, item := range value {
			op.rename(item, schema.Items.Value)
		}
	case map[string]any:
		for name, property := range schema.Properties {
			wins, isAlias := property.Value.Extensions["x-alias-of"].(string)
			if !isAlias {
				continue
			}
			if older, ok := value[name]; ok {
				if _, both := value[wins]; !both {
					value[wins] = older
				}
				delete(value, name)
			}
		}
		for name, property := range schema.Properties {
			if item, ok := value[name]; ok {
				op.rename(item, property.Value)
			}
		}
	}
}

// hasField tells whether a body has a field that is not empty.
func hasField(body []byte, name string) bool {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return false
	}
	value := string(fields[name])
	return value != "" && value != `""` && value != "null"
}
