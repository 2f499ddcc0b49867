package bot

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"parley/internal/apperr"
)

const (
	// maxNesting bounds how deep label relations nest.
	maxNesting = 10
	// maxConditions bounds the conditions of label relations, nested ones included: each is compared
	// with the labels of every entry.
	maxConditions = 1000
)

// CheckQueryMetadata checks the rules of the known keys of queryMetadata that the schema cannot express (contract,
// section 5). pointer is its place in the request. Errors are of the given kind.
func CheckQueryMetadata(kind apperr.Kind, pointer string, raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	metadata, err := decodeQueryMetadata(raw)
	if err != nil {
		return apperr.Field(kind, pointer, "must be an object")
	}
	bases, _ := metadata["knowledge_bases"].([]any)
	for i, base := range bases {
		selection, _ := base.(map[string]any)
		switch selection["has_user_selected_all"] {
		case nil, true, false, "True", "False":
		default:
			return apperr.Field(kind, fmt.Sprintf("%s/knowledge_bases/%d/has_user_selected_all", pointer, i), `must be a boolean, or "True" or "False"`)
		}
	}
	if relations, ok := metadata["label_relations"].(map[string]any); ok {
		conditionsLeft := maxConditions
		return checkLabelRelations(kind, pointer+"/label_relations", relations, 1, &conditionsLeft)
	}
	return nil
}

// decodeQueryMetadata decodes the known keys. It distinguishes keys by case and accepts numbers larger
// than a float64, neither of which decoding into a struct does.
func decodeQueryMetadata(raw json.RawMessage) (map[string]any, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	metadata := make(map[string]any, 2)
	for _, name := range []string{"knowledge_bases", "label_relations"} {
		if fields[name] == nil {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(fields[name]))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		metadata[name] = value
	}
	return metadata, nil
}

// checkLabelRelations subtracts the number of conditions from conditionsLeft.
func checkLabelRelations(kind apperr.Kind, pointer string, relations map[string]any, depth int, conditionsLeft *int) error {
	if depth > maxNesting {
		return apperr.Field(kind, pointer, fmt.Sprintf("must not nest deeper than %d", maxNesting))
	}
	switch relations["operator"] {
	case nil, "AND", "OR":
	default:
		return apperr.Field(kind, pointer+"/operator", "must be AND or OR")
	}
	conditions, ok := relations["conditions"].([]any)
	if !ok && relations["conditions"] != nil {
		return apperr.Field(kind, pointer+"/conditions", "must be an array")
	}
	if *conditionsLeft -= len(conditions); *conditionsLeft < 0 {
		return apperr.Field(kind, pointer+"/conditions", fmt.Sprintf("must have at most %d conditions, including those of nested relations", maxConditions))
	}
	for i, condition := range conditions {
		at := fmt.Sprintf("%s/conditions/%d", pointer, i)
		switch condition := condition.(type) {
		case string:
		case map[string]any:
			if err := checkLabelRelations(kind, at, condition, depth+1, conditionsLeft); err != nil {
				return err
			}
		default:
			return apperr.Field(kind, at, "must be a label or a nested relation")
		}
	}
	return nil
}

// SelectionOf returns the restriction that a question's queryMetadata describes. CheckQueryMetadata must have
// accepted it. A chatbot has one knowledge base, its FAQs, so the entries that any of the named knowledge bases
// selects are allowed.
func SelectionOf(raw json.RawMessage) Selection {
	var selection Selection
	if raw == nil {
		return selection
	}
	metadata, err := decodeQueryMetadata(raw)
	if err != nil {
		return selection
	}
	if relations, ok := metadata["label_relations"].(map[string]any); ok {
		selection.Labels = relationOf(relations)
	}
	bases, _ := metadata["knowledge_bases"].([]any)
	selection.IsPartial = len(bases) > 0
	for _, base := range bases {
		fields, _ := base.(map[string]any)
		ids, _ := fields["faq_ids"].([]any)
		switch all := fields["has_user_selected_all"]; {
		case all == true, all == "True", all == nil && len(ids) == 0:
			selection.IsPartial = false
			return selection
		}
		for _, id := range ids {
			text, _ := id.(string)
			// Text that is not an entry's ID selects nothing.
			if entry, err := uuid.Parse(text); err == nil && len(text) == 36 {
				selection.Entries = append(selection.Entries, entry)
			}
		}
	}
	return selection
}

func relationOf(relations map[string]any) Relation {
	relation := Relation{IsAny: relations["operator"] == "OR"}
	conditions, _ := relations["conditions"].([]any)
	for _, condition := range conditions {
		switch condition := condition.(type) {
		case string:
			relation.Labels = append(relation.Labels, condition)
		case map[string]any:
			relation.Nested = append(relation.Nested, relationOf(condition))
		}
	}
	return relation
}
