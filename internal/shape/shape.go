// Package shape rewrites the JSON that callers send into the form that the schemas of the OpenAPI
// document describe: request bodies and WebSocket frames. The rules are the same everywhere:
//
//   - A property that its schema does not declare is dropped. Of a key that occurs twice, the last
//     value counts.
//   - The snake_case spelling of a camelCase property, and the aliases of a property (x-aliases),
//     are renamed. The declared name takes precedence.
//   - An optional property that is null is dropped, unless its schema is nullable.
//   - A number such as 50.0 or 5e1 becomes 50 if its schema is an integer.
//   - An id and an object with the id are interchangeable if the schema has x-id-or-object. A string is an
//     object with the property that x-string-as names.
//
// A schema with additionalProperties or x-free is free JSON, which the rules leave as it is at every
// depth. x-free is for schemas that also declare properties and are nullable.
package shape

import (
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

// maxProperties is the maximum number of properties of a request's schema.
const maxProperties = 32

// maxInteger bounds integers for which the document has no bounds. JSON clients can represent
// larger ones only approximately.
const maxInteger = 1 << 53

type kind uint8

const (
	scalar  kind = iota
	integer      // numbers with a zero fraction are rewritten
	array
	object
	free // any JSON, left as it is
)

// Shape is a schema, compiled for Normalize.
type Shape struct {
	kind       kind
	inFree     bool // part of free JSON, which is validated but not rewritten
	isFree     bool // the properties of this object are free JSON
	isNullable bool
	isIDObject bool   // x-id-or-object: a string that can be an object with the id
	stringAs   string // of an object: the property that a string in place of the object stands for; empty if none
	items      *Shape
	maxItems   int // of an array; more cannot be valid
	properties []property
	spellings  map[string]spelling // by every name that is accepted
}

type property struct {
	name       string
	shape      *Shape
	isRequired bool
}

// spelling is a name of a property. The lowest rank takes precedence.
type spelling struct {
	property int
	rank     int
	isAlias  bool // in x-aliases
}

// Document returns the document as it is enforced. All callers of a process share it, because it
// takes long to load. They must not modify it.
var Document = sync.OnceValues(func() (*openapi3.T, error) {
	document, err := api.Load()
	if err != nil {
		return nil, err
	}
	for _, item := range document.Paths.Map() {
		for _, op := range item.Operations() {
			if schema := OfBody(op); schema != nil {
				complete(schema, false)
			}
		}
	}
	return document, nil
})

// OfBody returns the schema of an operation's JSON body, or nil.
func OfBody(op *openapi3.Operation) *openapi3.Schema {
	if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
		return nil
	}
	return op.RequestBody.Value.Content["application/json"].Schema.Value
}

// complete adds the rules that hold for all schemas of requests: integers without bounds are bounded, and optional
// properties in free JSON can be null, because Normalize does not remove nulls there.
func complete(schema *openapi3.Schema, inFree bool) {
	if schema.Type.Is("integer") {
		if schema.Min == nil {
			schema.Min = new(float64(-maxInteger))
		}
		if schema.Max == nil {
			schema.Max = new(float64(maxInteger))
		}
	}
	inFree = inFree || isFree(schema)
	for name, property := range schema.Properties {
		if inFree && !slices.Contains(schema.Required, name) {
			property.Value.Nullable = true
		}
		complete(property.Value, inFree)
	}
	if schema.Items != nil {
		complete(schema.Items.Value, inFree)
	}
}

// isFree reports whether a schema keeps undeclared properties.
func isFree(schema *openapi3.Schema) bool {
	return schema.AdditionalProperties.Has != nil && *schema.AdditionalProperties.Has || schema.Extensions["x-free"] == true
}

// Compile returns the shape of a schema, which must not contain itself.
func Compile(schema *openapi3.Schema) *Shape { return compile(schema, false) }

func compile(schema *openapi3.Schema, inFree bool) *Shape {
	s := &Shape{
		isNullable: schema.Nullable,
		inFree:     inFree,
		isFree:     inFree || isFree(schema),
		isIDObject: schema.Extensions["x-id-or-object"] == true,
	}
	s.stringAs, _ = schema.Extensions["x-string-as"].(string)
	if s.isIDObject && schema.Type.Is("object") {
		s.stringAs = "id"
	}
	switch {
	case schema.Type == nil:
		s.kind = free
	case schema.Type.Is("integer"):
		s.kind = integer
	case schema.Type.Is("array"):
		s.kind, s.items, s.maxItems = array, compile(schema.Items.Value, inFree), math.MaxInt
		if schema.MaxItems != nil {
			s.maxItems = int(*schema.MaxItems)
		}
	case schema.Type.Is("object") && len(schema.Properties) == 0:
		s.kind = free
	case schema.Type.Is("object"):
		s.kind = object
		s.addProperties(schema)
	}
	return s
}

func (s *Shape) addProperties(schema *openapi3.Schema) {
	if len(schema.Properties) > maxProperties {
		panic("shape: a schema has too many properties") // cannot happen: a test compiles all
	}
	s.spellings = make(map[string]spelling)
	for name, ref := range schema.Properties {
		s.properties = append(s.properties, property{name, compile(ref.Value, s.isFree), slices.Contains(schema.Required, name)})
		for rank, accepted := range Spellings(name, ref.Value.Extensions) {
			if rank > 0 && (s.isFree || schema.Properties[accepted] != nil) {
				continue
			}
			s.spellings[accepted] = spelling{len(s.properties) - 1, rank, accepted != name && accepted != snakeCase(name)}
		}
	}
}

// Spellings returns the names that a property or a parameter is accepted by, the declared one
// first: each camelCase name also in snake_case, and those in the extension x-aliases.
func Spellings(name string, extensions map[string]any) []string {
	names := []string{name}
	aliases, _ := extensions["x-aliases"].([]any)
	for _, alias := range append([]any{name}, aliases...) {
		text, _ := alias.(string)
		for _, spelling := range []string{text, snakeCase(text)} {
			if !slices.Contains(names, spelling) {
				names = append(names, spelling)
			}
		}
	}
	return names
}

// DeclaredPointer returns a JSON Pointer into a document as Normalize renames the document's fields.
func (s *Shape) DeclaredPointer(sent string) string {
	parts := strings.Split(sent, "/")
	for i := 1; i < len(parts) && s != nil; i++ {
		if s.kind != object {
			s = s.items
			continue
		}
		found, ok := s.spellings[parts[i]]
		if !ok {
			break
		}
		parts[i], s = s.properties[found.property].name, s.properties[found.property].shape
	}
	return strings.Join(parts, "/")
}

// snakeCase returns phone_number for phoneNumber.
func snakeCase(name string) string {
	var snake strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(r))
	}
	return snake.String()
}
