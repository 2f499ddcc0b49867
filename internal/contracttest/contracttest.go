// Package contracttest holds what a server says in the tests against the document.
//
// A Transport is the way of a test's requests: an answer, an event of a stream or a header that the document does not
// have fails the test, whatever the test is about. Frame does the same for a WebSocket's frames. What was met is noted
// for the process; Missing and MissingFrames tell what the document declares and no test has met.
package contracttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"parley/api"
)

func init() {
	// The library leaves it to its users what a uuid is. No request's schema has the format.
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		id, err := uuid.Parse(text)
		if err == nil && id.String() != text {
			err = errors.New("not in plain text")
		}
		return err
	}))
}

// document is the contract as answers are held against it: a tree of its own, in which every object is closed that is not
// said to be free. The document itself leaves them open, so that clients bear a field more.
var document = closed(api.Load())

var operations = readOperations()

func closed(document *openapi3.T, err error) *openapi3.T {
	if err != nil {
		panic(err)
	}
	parts := map[*openapi3.Schema]bool{} // of others, which have more
	for _, schema := range document.Components.Schemas {
		for _, part := range schema.Value.AllOf {
			parts[part.Value] = true
		}
	}
	seen := map[*openapi3.Schema]bool{}
	var closeOne func(ref *openapi3.SchemaRef)
	closeOne = func(ref *openapi3.SchemaRef) {
		if ref == nil || seen[ref.Value] {
			return
		}
		schema := ref.Value
		seen[schema] = true
		isWhole := len(schema.AllOf) == 0 && !parts[schema]
		if isWhole && len(schema.Properties) > 0 && schema.AdditionalProperties.Has == nil && schema.AdditionalProperties.Schema == nil {
			schema.AdditionalProperties.Has = new(false)
		}
		for _, property := range schema.Properties {
			closeOne(property)
		}
		for _, variant := range slices.Concat(schema.OneOf, schema.AnyOf) {
			closeOne(variant)
		}
		closeOne(schema.Items)
	}
	for _, schema := range document.Components.Schemas {
		closeOne(schema)
	}
	return document
}

// operation is one of the document's.
type operation struct {
	*openapi3.Operation
	method   string
	isSlash  bool     // its path ends in one
	segments []string // of the path; one in braces stands for anything
	literals int
}

func readOperations() []operation {
	var all []operation
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			one := operation{Operation: op, method: method, isSlash: strings.HasSuffix(path, "/"), segments: segments(path)}
			for _, segment := range one.segments {
				if !strings.HasPrefix(segment, "{") {
					one.literals++
				}
			}
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return b.literals - a.literals })
	return all
}

func segments(path string) []string { return strings.Split(strings.TrimSuffix(path, "/"), "/") }

// find returns the operation of a request by any of the spellings that its path may have. Literals win over what stands
// for anything, whatever their methods are; of two that a slash tells apart, the one that is spelt so.
func find(method, path string) (found operation, isFound bool) {
	if rest, ok := strings.CutPrefix(path, "/api/v1/"); ok {
		path = "/api/" + rest
	} else if strings.HasPrefix(path, "/conversations") {
		path = "/api" + path
	}
	asked, isSlash, literals := segments(path), strings.HasSuffix(path, "/"), 0
	for _, op := range operations {
		if op.literals < literals || !op.fits(asked) {
			continue
		}
		literals = op.literals
		if op.method == method && (!isFound || op.isSlash == isSlash) {
			found, isFound = op, true
		}
	}
	return found, isFound
}

func (op operation) fits(asked []string) bool {
	if len(asked) != len(op.segments) {
		return false
	}
	for i, segment := range op.segments {
		if segment != asked[i] && (!strings.HasPrefix(segment, "{") || asked[i] == "") {
			return false
		}
	}
	return true
}

// holds checks a value against a schema, and notes what it has.
func holds(met *meetings, schema *openapi3.Schema, value any) error {
	if err := schema.VisitJSON(value, openapi3.VisitAsResponse(), openapi3.MultiErrors()); err != nil {
		return err
	}
	if met == nil {
		met = newMeetings() // which nobody asks
	}
	met.mu.Lock()
	defer met.mu.Unlock()
	return met.note(schema, value)
}

// named returns one of the document's schemas.
func named(schema string) *openapi3.Schema {
	found := document.Components.Schemas[schema]
	if found == nil {
		panic(fmt.Sprintf("the document has no schema %s", schema))
	}
	return found.Value
}
