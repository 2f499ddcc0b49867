package contract

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"parley/internal/apperr"
)

// checkQuery refuses text that PostgreSQL cannot store, and known parameters that are repeated or
// empty, which the validator would ignore. An operation without query parameters ignores its query.
func (op *operation) checkQuery(address *url.URL) error {
	if !op.hasQuery {
		return nil
	}
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return apperr.Wrap(apperr.InvalidRequest, "The query string is not encoded correctly.", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) { // sorted: the same request gets the same error
		values := query[name]
		isKnown := op.route.Operation.Parameters.GetByInAndName("query", name) != nil
		if len(values) > 1 && isKnown {
			return apperr.Parameter(name, "must be given once")
		}
		for _, value := range values {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return apperr.Parameter(strings.ToValidUTF8(name, "\uFFFD"), "must be UTF-8 without NUL")
			}
			if value == "" && isKnown {
				return apperr.Parameter(name, "must not be empty")
			}
		}
	}
	return nil
}
