package chat

import (
	"bytes"
	"encoding/json"
	"fmt"

	"parley/internal/fault"
)

// maxNesting bounds how deep label relations may nest.
const maxNesting = 10

// checkQueryMetadata checks what a schema cannot say of queryMetadata's known keys
// (contract, section 5), found at pointer in the request; a mistake is a fault of that
// kind.
func checkQueryMetadata(kind fault.Kind, pointer string, raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	// Keys are told apart by case, and numbers may be larger than a float64, which
	// decoding into a struct would not have.
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var known map[string]any
	if err := decoder.Decode(&known); err != nil {
		return fault.Field(kind, pointer, "must be an object")
	}
	bases, _ := known["knowledge_bases"].([]any)
	for i, base := range bases {
		selection, _ := base.(map[string]any)
		switch selection["has_user_selected_all"] {
		case nil, true, false, "True", "False":
		default:
			return fault.Field(kind, fmt.Sprintf("%s/knowledge_bases/%d/has_user_selected_all", pointer, i), `must be a boolean, or "True" or "False"`)
		}
	}
	if relations, ok := known["label_relations"].(map[string]any); ok {
		return checkLabelRelations(kind, pointer+"/label_relations", relations, 1)
	}
	return nil
}

func checkLabelRelations(kind fault.Kind, pointer string, relations map[string]any, depth int) error {
	if depth > maxNesting {
		return fault.Field(kind, pointer, fmt.Sprintf("must not nest deeper than %d", maxNesting))
	}
	switch relations["operator"] {
	case nil, "AND", "OR":
	default:
		return fault.Field(kind, pointer+"/operator", "must be AND or OR")
	}
	conditions, ok := relations["conditions"].([]any)
	if !ok && relations["conditions"] != nil {
		return fault.Field(kind, pointer+"/conditions", "must be an array")
	}
	for i, condition := range conditions {
		at := fmt.Sprintf("%s/conditions/%d", pointer, i)
		switch condition := condition.(type) {
		case string:
		case map[string]any:
			if err := checkLabelRelations(kind, at, condition, depth+1); err != nil {
				return err
			}
		default:
			return fault.Field(kind, at, "must be a label or a nested relation")
		}
	}
	return nil
}
