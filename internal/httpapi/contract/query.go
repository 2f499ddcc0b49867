package contract

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/apperr"
	"parley/internal/shape"
)

// query is the query parameters of an operation.
type query struct {
	spellings  map[string]parameterSpelling // by every name that is accepted
	stems      map[string]string            // by the stem of each declared name
	filters    []string                     // the stems of filters that the operation does not declare
	isCursor   bool                         // a list that is paged by cursors
	isNumbered bool                         // a list that is paged by numbers
}

// parameterSpelling is a name that a parameter is accepted by. The lowest rank takes precedence.
type parameterSpelling struct {
	name      string // the declared one
	rank      int
	isInteger bool
	clampsTo  float64 // larger values count as this one; 0: they do not
}

func newQuery(method, path string, parameters openapi3.Parameters) query {
	q := query{spellings: make(map[string]parameterSpelling), stems: make(map[string]string)}
	if method == http.MethodGet {
		q.filters = slices.DeleteFunc(slices.Clone(resources), func(resource string) bool { return isInPath(resource, path) })
	}
	for _, ref := range parameters {
		parameter := ref.Value
		if parameter.In != "query" {
			continue
		}
		q.stems[stem(parameter.Name)] = parameter.Name
		q.isCursor = q.isCursor || parameter.Name == "cursor"
		q.isNumbered = q.isNumbered || parameter.Name == "page"
		clampsTo, _ := parameter.Schema.Value.Extensions["x-clamps-to"].(float64)
		for rank, name := range shape.Spellings(parameter.Name, parameter.Extensions) {
			if rank == 0 || parameters.GetByInAndName("query", name) == nil {
				q.spellings[name] = parameterSpelling{parameter.Name, rank, parameter.Schema.Value.Type.Is("integer"), clampsTo}
			}
		}
	}
	return q
}

// readQuery returns the URL with the declared names of its query parameters. It refuses text that
// PostgreSQL cannot store, parameters that are repeated or empty, and unknown ones that look like a
// declared one or like a filter. An operation without query parameters ignores its query.
func (op *operation) readQuery(address *url.URL) (*url.URL, error) {
	if len(op.query.spellings) == 0 || address.RawQuery == "" {
		return address, nil
	}
	sent, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return address, apperr.Wrap(apperr.InvalidRequest, "The query string is not encoded correctly.", err)
	}
	changed := url.Values(nil)                            // nil: as it was sent
	for _, name := range slices.Sorted(maps.Keys(sent)) { // sorted: the same request gets the same error
		values := sent[name]
		if slices.ContainsFunc(values, func(value string) bool { return !utf8.ValidString(value) || strings.ContainsRune(value, 0) }) {
			return address, apperr.Parameter(strings.ToValidUTF8(name, "\uFFFD"), "must be UTF-8 without NUL")
		}
		found, isKnown := op.query.spellings[name]
		if !isKnown {
			if err := op.query.checkUnknown(name, values); err != nil {
				return address, err
			}
			continue
		}
		isPreceded := op.query.isPreceded(found, sent)
		if err := found.check(values); err != nil && !isPreceded {
			return address, err
		}
		value := found.normalize(values[0])
		if name == found.name && value == values[0] {
			continue
		}
		if changed == nil {
			changed = maps.Clone(sent)
		}
		if delete(changed, name); !isPreceded {
			changed.Set(found.name, value)
		}
	}
	if op.query.isNumbered && sent.Has("offset") && sent.Has("page") && sent.Get("page") != "1" {
		return address, apperr.Parameter("offset", "cannot be combined with page")
	}
	if changed == nil {
		return address, nil
	}
	renamed := *address
	renamed.RawQuery = changed.Encode()
	return &renamed, nil
}

// isPreceded reports whether a parameter was also sent under a name that takes precedence.
func (q query) isPreceded(p parameterSpelling, sent url.Values) bool {
	if p.rank == 0 {
		return false
	}
	for name := range sent {
		if other, ok := q.spellings[name]; ok && other.name == p.name && other.rank < p.rank {
			return true
		}
	}
	return false
}

// check refuses parameters that are repeated or empty, which the validator would ignore.
func (p parameterSpelling) check(values []string) error {
	switch {
	case len(values) > 1:
		return apperr.Parameter(p.name, "must be given once")
	case values[0] == "":
		return apperr.Parameter(p.name, "must not be empty")
	}
	return nil
}

// normalize returns 50 for an integer such as 50.0, and the largest value for one that is clamped.
func (p parameterSpelling) normalize(value string) string {
	if !p.isInteger {
		return value
	}
	if whole, fraction, ok := strings.Cut(value, "."); ok && fraction != "" && strings.Trim(fraction, "0") == "" {
		value = whole
	}
	if n, err := strconv.ParseUint(value, 10, 64); err == nil && p.clampsTo > 0 && float64(n) > p.clampsTo {
		return strconv.FormatFloat(p.clampsTo, 'f', -1, 64)
	}
	return value
}

// resources are the stems of parameters by which results are filtered.
var resources = []string{"bot", "chatbot", "contact", "conversation", "inbox", "session", "webchat"}

// isInPath reports whether a path names a resource by its ID.
func isInPath(resource, path string) bool {
	segments := strings.Split(path, "/")
	for i, segment := range segments[1:] {
		if strings.HasPrefix(segment, "{") && stem(segments[i]) == resource {
			return true
		}
	}
	return false
}

// checkUnknown refuses an undeclared parameter that the caller probably expects to have an effect: one that differs
// from a declared one only in its spelling, a filter, or the page number of a list that is paged by cursors.
func (q query) checkUnknown(name string, values []string) error {
	root := stem(name)
	if declared, ok := q.stems[root]; ok {
		return apperr.Parameter(name, "is not a parameter of this operation; use "+declared)
	}
	if slices.Contains(q.filters, root) {
		return apperr.Parameter(name, "is not a parameter of this operation; its results cannot be filtered by it")
	}
	if q.isCursor && (name == "page" && !slices.Equal(values, []string{"1"}) || name == "offset" && !slices.Equal(values, []string{"0"})) {
		return apperr.Parameter(name, "is not a parameter of this operation; use cursor")
	}
	return nil
}

// stem returns the common part of the spellings of a parameter: conversation for conversationIds, Conversation[] and
// conversation__in.
func stem(name string) string {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
	for _, suffix := range []string{"in", "s", "id", "uu", "e"} {
		letters = strings.TrimSuffix(letters, suffix)
	}
	return letters
}
