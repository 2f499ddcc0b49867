package bot_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// Any JSON is accepted, or refused with a pointer to the violation.
func FuzzQueryMetadata(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"knowledge_bases":null}`, `{"knowledge_bases":[null]}`, `{"knowledge_bases":[{"has_user_selected_all":"True"}]}`, `{"knowledge_bases":[{"has_user_selected_all":{}}]}`,
		`{"knowledge_bases":7}`, `{"label_relations":null}`, `{"label_relations":{"operator":"AND","conditions":["a",{"operator":"OR","conditions":[]}]}}`, `{"label_relations":{"operator":7}}`,
		`{"label_relations":{"conditions":{}}}`, `{"label_relations":{"conditions":[null]}}`, `{"label_relations":[]}`, `{"Label_Relations":{"operator":7}}`, `{"knowledge_bases":[{"HAS_USER_SELECTED_ALL":7}]}`,
		`{"label_relations":` + strings.Repeat(`{"conditions":[`, 11) + strings.Repeat(`]}`, 11) + `}`, `[]`, `7`, `"x"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // requests with invalid JSON are refused earlier
		}
		err := bot.CheckQueryMetadata(apperr.InvalidMessage, "", raw)
		if err == nil {
			bot.SelectionOf(raw) // must not panic
			return
		}
		appErr, ok := errors.AsType[*apperr.Error](err)
		if !ok || appErr.Kind != apperr.InvalidMessage || len(appErr.Violations) != 1 || appErr.Violations[0].In != "body" {
			t.Fatalf("%s: %#v", raw, err)
		}
		pointer := appErr.Violations[0].Pointer
		if pointer != "" && !strings.HasPrefix(pointer, "/label_relations") && !strings.HasPrefix(pointer, "/knowledge_bases/") {
			t.Fatalf("%s: the pointer is %s", raw, pointer)
		}
	})
}
