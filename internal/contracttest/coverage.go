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

// exercised is the coverage of the tests in this process.
var exercised = newCoverage()

func newCoverage() *coverage {
	return &coverage{
		responses:  map[string]bool{},
		headers:    map[*openapi3.Response]map[string]bool{},
		properties: map[*openapi3.Schema]map[string]bool{},
		nulls:      map[*openapi3.Schema]bool{},
	}
}

// coverage records which parts of the document occurred in responses. A part that no test exercises is an unverified
// promise. Operations that share a declared response also share the coverage of its headers.
type coverage struct {
	mu         sync.Mutex
	responses  map[string]bool // "operation status" and "operation status media-type"
	headers    map[*openapi3.Response]map[string]bool
	properties map[*openapi3.Schema]map[string]bool
	nulls      map[*openapi3.Schema]bool
}

// addResponse records a response's status, media type and headers. A nil coverage records nothing.
func (c *coverage) addResponse(operation string, response *http.Response, declared *openapi3.Response, kind string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := operation + " " + statusKey(response)
	c.responses[key] = true
	c.responses[key+" "+kind] = true
	if c.headers[declared] == nil {
		c.headers[declared] = map[string]bool{}
	}
	for name := range response.Header {
		c.headers[declared][name] = true
	}
}

// statusKey returns the key under which the document declares a status.
func statusKey(response *http.Response) string {
	if response.StatusCode >= 500 {
		return "default"
	}
	return strconv.Itoa(response.StatusCode)
}

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)

// addValue records the properties and nulls of a value that is valid under a schema. It returns an error for a time
// without six fraction digits and Z, which a schema cannot express. Contents of free-form objects are not checked.
// The caller holds mu.
func (c *coverage) addValue(schema *openapi3.Schema, value any) error {
	for _, variant := range slices.Concat(schema.OneOf, schema.AnyOf) {
		if matchesVariant(variant.Value, value) {
			return c.addValue(variant.Value, value)
		}
	}
	switch value := value.(type) {
	case nil:
		c.nulls[schema] = true
	case string:
		if schema.Format == "date-time" && !timestamp.MatchString(value) {
			return fmt.Errorf("time %q does not have six fraction digits and Z", value)
		}
	case []any:
		if schema.Items == nil {
			return nil
		}
		for _, item := range value {
			if err := c.addValue(schema.Items.Value, item); err != nil {
				return err
			}
		}
	case map[string]any:
		seen := c.properties[schema]
		if seen == nil {
			seen = map[string]bool{}
			c.properties[schema] = seen
		}
		for name, item := range value {
			property := schema.Properties[name]
			if property == nil {
				continue
			}
			seen[name] = true
			if err := c.addValue(property.Value, item); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// matchesVariant reports whether an object has all required properties of a variant, with the
// values that the variant fixes.
func matchesVariant(variant *openapi3.Schema, value any) bool {
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

// CheckCoverage returns an error that lists the declared responses of operations that the run has
// never exercised: statuses, media types, headers, properties and nulls. If only some tests were
// selected it returns nil.
func CheckCoverage() error {
	if isPartialRun() {
		return nil
	}
	exercised.mu.Lock()
	defer exercised.mu.Unlock()
	var missing []string
	reachable := schemaSet{}
	for _, op := range operations {
		for status, response := range op.Responses.Map() {
			key := op.OperationID + " " + status
			if !exercised.responses[key] {
				if status != "default" || !cannotFail[op.OperationID] {
					missing = append(missing, key)
				}
				continue
			}
			for kind, media := range response.Value.Content {
				if !exercised.responses[key+" "+kind] {
					missing = append(missing, key+" "+kind)
				}
				reachable.addAll(media.Schema)
			}
			for name := range response.Value.Headers {
				if !exercised.headers[response.Value][http.CanonicalHeaderKey(name)] {
					missing = append(missing, key+" "+name)
				}
			}
		}
	}
	return notExercised(append(missing, exercised.missingFrom(reachable)...))
}

// cannotFail holds the operations that cannot fail, because they depend on nothing else.
var cannotFail = words("getDocs getHealth getOpenapiJson getOpenapiYaml getProblem")

// CheckFrameCoverage is CheckCoverage for the frames that the server sends on WebSockets.
func CheckFrameCoverage() error {
	if isPartialRun() {
		return nil
	}
	exercised.mu.Lock()
	defer exercised.mu.Unlock()
	reachable := schemaSet{}
	reachable.addAll(document.Components.Schemas["ServerFrame"])
	return notExercised(exercised.missingFrom(reachable))
}

// neverNull holds properties that the contract declares nullable for the future: every record has
// a reply today.
var neverNull = words("ExchangeRecord.replyTime")

// missingFrom returns the properties of some schemas that never occurred, and the nullable schemas that were never
// null.
func (c *coverage) missingFrom(schemas schemaSet) []string {
	var missing []string
	for schema, name := range schemas {
		if schema.Nullable && !c.nulls[schema] && !neverNull[name] {
			missing = append(missing, name+": null")
		}
		for property, declared := range schema.Properties {
			isForRequests := declared.Value.WriteOnly || declared.Value.Extensions["x-alias-of"] != nil
			if !c.properties[schema][property] && !isForRequests {
				missing = append(missing, name+"."+property)
			}
		}
	}
	return missing
}

// schemaSet is a set of schemas, with the name of each or the path to it.
type schemaSet map[*openapi3.Schema]string

// addAll adds a schema and all schemas that its values contain.
func (s schemaSet) addAll(ref *openapi3.SchemaRef) { s.add("", ref) }

func (s schemaSet) add(name string, ref *openapi3.SchemaRef) {
	if ref.Ref != "" {
		name = strings.TrimPrefix(ref.Ref, "#/components/schemas/")
	}
	if _, ok := s[ref.Value]; ok {
		return
	}
	s[ref.Value] = name
	for property, schema := range ref.Value.Properties {
		if !schema.Value.WriteOnly {
			s.add(name+"."+property, schema)
		}
	}
	for _, variant := range slices.Concat(ref.Value.OneOf, ref.Value.AnyOf) {
		s.add(name, variant)
	}
	if ref.Value.Items != nil {
		s.add(name+"[]", ref.Value.Items)
	}
}

// isPartialRun reports whether flags of the test binary select some of the tests.
func isPartialRun() bool {
	for _, selection := range []string{"run", "skip", "list", "fuzz", "bench"} {
		if f := flag.Lookup("test." + selection); f != nil && f.Value.String() != "" {
			return true
		}
	}
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

func notExercised(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return errors.New(fmt.Sprintf("%d declared parts of the document were never exercised by a test:\n  ", len(missing)) + strings.Join(missing, "\n  "))
}
