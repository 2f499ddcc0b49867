package chat

import (
	"bytes"
	"encoding/json"
	"fmt"

	"parley/internal/apperr"
	"parley/internal/bot"
)

const (
	// maxNesting bounds how deep label relations may nest.
	maxNesting = 10
	// maxConditions bounds their conditions, those of nested ones included: each is compared
	// with the labels of every entry.
	maxConditions = 1000
)

// checkQueryMetadata checks what a schema cannot say of queryMetadata's known keys
// (contract, section 5), found at pointer in the request; a mistake is a fault of that
// kind.
func checkQueryMetadata(kind apperr.Kind, pointer string, raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	known, err := readQueryMetadata(raw)
	if err != nil {
		return apperr.Field(kind, pointer, "must be an object")
	}
	bases, _ := known["knowledge_bases"].([]any)
	for i, base := range bases {
		selection, _ := base.(map[string]any)
		switch selection["has_user_selected_all"] {
		case nil, true, false, "True", "False":
		default:
			return apperr.Field(kind, fmt.Sprintf("%s/knowledge_bases/%d/has_user_selected_all", pointer, i), `must be a boolean, or "True" or "False"`)
		}
	}
	if relations, ok := known["label_relations"].(map[string]any); ok {
		left := maxConditions
		return checkLabelRelations(kind, pointer+"/label_relations", relations, 1, &left)
	}
	return nil
}

// readQueryMetadata tells keys apart by case, and takes numbers larger than a float64,
// which decoding into a struct would not.
func readQueryMetadata(raw json.RawMessage) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var known map[string]any
	err := decoder.Decode(&known)
	return known, err
}

// checkLabelRelations takes the conditions off those that are left.
func checkLabelRelations(kind apperr.Kind, pointer string, relations map[string]any, depth int, left *int) error {
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
	if *left -= len(conditions); *left < 0 {
		return apperr.Field(kind, pointer+"/conditions", fmt.Sprintf("must be no more than %d, those of nested relations included", maxConditions))
	}
	for i, condition := range conditions {
		at := fmt.Sprintf("%s/conditions/%d", pointer, i)
		switch condition := condition.(type) {
		case string:
		case map[string]any:
			if err := checkLabelRelations(kind, at, condition, depth+1, left); err != nil {
				return err
			}
		default:
			return apperr.Field(kind, at, "must be a label or a nested relation")
		}
	}
	return nil
}

// selectionOf is what a question's queryMetadata, which was checked when it came,
// restricts the bot to. A chatbot has one knowledge base, its FAQs: what any of the
// knowledge bases selects may be used.
func selectionOf(raw json.RawMessage) bot.Selection {
	if raw == nil {
		return bot.Selection{}
	}
	known, err := readQueryMetadata(raw)
	if err != nil {
		return bot.Selection{}
	}
	selection := bot.Selection{}
	if relations, ok := known["label_relations"].(map[string]any); ok {
		selection.Labels = relationOf(relations)
	}
	bases, _ := known["knowledge_bases"].([]any)
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
			// What is no id is none of an entry.
			if entry, err := parseID(text, ""); err == nil {
				selection.Entries = append(selection.Entries, entry)
			}
		}
	}
	return selection
}

func relationOf(relations map[string]any) bot.Relation {
	relation := bot.Relation{IsAny: relations["operator"] == "OR"}
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
