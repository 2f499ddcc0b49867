package contract

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/apperr"
	"parley/internal/shape"
)

// readUnsupported returns the fields of other services that a body must not set, by each of their
// spellings, with the reason (x-unsupported).
func readUnsupported(schema *openapi3.Schema) map[string]string {
	declared, _ := schema.Extensions["x-unsupported"].(map[string]any)
	unsupported := make(map[string]string, 2*len(declared))
	for name, reason := range declared {
		for _, spelling := range shape.Spellings(name, nil) {
			unsupported[spelling], _ = reason.(string)
		}
	}
	return unsupported
}

// checkUnsupported refuses a body that sets such a field, because the caller would rely on an effect that does not
// happen. Values without an effect are accepted.
func (op *operation) checkUnsupported(body []byte) error {
	if len(op.unsupported) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil //nolint:nilerr // validation refuses a body that is not an object
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		reason, isUnsupported := op.unsupported[name]
		if isUnsupported && !slices.Contains([]string{`null`, `""`, `false`, `[]`, `{}`}, strings.TrimSpace(string(fields[name]))) {
			return apperr.Field(apperr.InvalidRequest, "/"+name, reason)
		}
	}
	return nil
}
