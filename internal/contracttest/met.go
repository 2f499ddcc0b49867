package contracttest

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

// met is what the tests of this process have met.
var met = newMeetings()

func newMeetings() *meetings {
	return &meetings{
		answers:    map[string]bool{},
		headers:    map[*openapi3.Response]map[string]bool{},
		properties: map[*openapi3.Schema]map[string]bool{},
		nulls:      map[*openapi3.Schema]bool{},
	}
}

// meetings are answers by operation and status, with their media types, and what was in them; where operations share the
// description of an answer, its headers need to be met once. What the document declares and no test has met is a promise
// that nobody keeps an eye on.
type meetings struct {
	mu         sync.Mutex
	answers    map[string]bool
	headers    map[*openapi3.Response]map[string]bool
	properties map[*openapi3.Schema]map[string]bool
	nulls      map[*openapi3.Schema]bool
}

func (m *meetings) answer(operation string, response *http.Response, described *openapi3.Response, kind string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	place := operation + " " + statusOf(response)
	m.answers[place] = true
	m.answers[place+" "+kind] = true
	if m.headers[described] == nil {
		m.headers[described] = map[string]bool{}
	}
	for name := range response.Header {
		m.headers[described][name] = true
	}
}

// statusOf is the status by which the document has an answer.
func statusOf(response *http.Response) string {
	if response.StatusCode >= 500 {
		return "default"
	}
	return strconv.Itoa(response.StatusCode)
}

var ourTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)

// note goes through a value that fits a schema: it keeps what is there, and finds a time that is not written with six
// fraction digits and Z, which a schema cannot say. Free objects are the caller's.
func (m *meetings) note(schema *openapi3.Schema, value any) error {
	for _, variant := range slices.Concat(schema.OneOf, schema.AnyOf) {
		if fits(variant.Value, value) {
			return m.note(variant.Value, value)
		}
	}
	switch value := value.(type) {
	case nil:
		m.nulls[schema] = true
	case string:
		if schema.Format == "date-time" && !ourTime.MatchString(value) {
			return fmt.Errorf("the time is %q", value)
		}
	case []any:
		if schema.Items == nil {
			return nil
		}
		for _, item := range value {
			if err := m.note(schema.Items.Value, item); err != nil {
				return err
			}
		}
	case map[string]any:
		known := m.properties[schema]
		if known == nil {
			known = map[string]bool{}
			m.properties[schema] = known
		}
		for name, item := range value {
			property := schema.Properties[name]
			if property == nil {
				continue
			}
			known[name] = true
			if err := m.note(property.Value, item); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// fits tells whether a variant is the one that a value is: the first that has all that it must have.
func fits(variant *openapi3.Schema, value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for _, name := range variant.Required {
		if _, ok := object[name]; !ok {
			return false
		}
		if property := variant.Properties[name].Value; len(property.Enum) == 1 && property.Enum[0] != object[name] {
			return false
		}
	}
	return true
}

// Missing tells what a whole run has left out of what the document says that operations answer: statuses, media types,
// headers, properties, and nulls; a run of chosen tests is not asked.
func Missing() error {
	if isNarrowed() {
		return nil
	}
	met.mu.Lock()
	defer met.mu.Unlock()
	var missing []string
	reached := reach{}
	for _, op := range operations {
		for status, response := range op.Responses.Map() {
			place := op.OperationID + " " + status
			if !met.answers[place] {
				if status != "default" || !cannotFail[op.OperationID] {
					missing = append(missing, place)
				}
				continue
			}
			for kind, media := range response.Value.Content {
				if !met.answers[place+" "+kind] {
					missing = append(missing, place+" "+kind)
				}
				reached.from(media.Schema)
			}
			for name := range response.Value.Headers {
				if !met.headers[response.Value][http.CanonicalHeaderKey(name)] {
					missing = append(missing, place+" "+name)
				}
			}
		}
	}
	return asError(append(missing, met.missingOf(reached)...))
}

// cannotFail are the operations that ask nothing of anything that could fail.
var cannotFail = words("getDocs getHealth getOpenapiJson getOpenapiYaml getProblem")

// MissingFrames is Missing for what the server says on WebSockets.
func MissingFrames() error {
	if isNarrowed() {
		return nil
	}
	met.mu.Lock()
	defer met.mu.Unlock()
	reached := reach{}
	reached.from(document.Components.Schemas["ServerFrame"])
	return asError(met.missingOf(reached))
}

// reserved may be null, as the contract has it, and are not as long as every record is that of a reply.
var reserved = words("Record.replyTime")

// missingOf tells which properties of some schemas were never there, and which of them that may be null never were.
func (m *meetings) missingOf(schemas reach) []string {
	var missing []string
	for schema, name := range schemas {
		if schema.Nullable && !m.nulls[schema] && !reserved[name] {
			missing = append(missing, name+": null")
		}
		for property, described := range schema.Properties {
			isOfRequests := described.Value.WriteOnly || described.Value.Extensions["x-alias-of"] != nil
			if !m.properties[schema][property] && !isOfRequests {
				missing = append(missing, name+"."+property)
			}
		}
	}
	return missing
}

// reach is schemas with a name for each, as the document has it or as that of its place.
type reach map[*openapi3.Schema]string

func (r reach) from(ref *openapi3.SchemaRef) { r.add("", ref) }

func (r reach) add(name string, ref *openapi3.SchemaRef) {
	if ref.Ref != "" {
		name = strings.TrimPrefix(ref.Ref, "#/components/schemas/")
	}
	if _, known := r[ref.Value]; known {
		return
	}
	r[ref.Value] = name
	for property, schema := range ref.Value.Properties {
		if !schema.Value.WriteOnly {
			r.add(name+"."+property, schema)
		}
	}
	for _, variant := range slices.Concat(ref.Value.OneOf, ref.Value.AnyOf) {
		r.add(name, variant)
	}
	if ref.Value.Items != nil {
		r.add(name+"[]", ref.Value.Items)
	}
}

func isNarrowed() bool {
	for _, narrowing := range []string{"run", "skip", "list", "fuzz", "bench"} {
		if f := flag.Lookup("test." + narrowing); f != nil && f.Value.String() != "" {
			return true
		}
	}
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

func asError(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return errors.New(fmt.Sprintf("the document declares, and no test has met (%d):\n  ", len(missing)) + strings.Join(missing, "\n  "))
}
