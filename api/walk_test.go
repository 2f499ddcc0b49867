package api_test

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

const problemJSON = "application/problem+json"

// operation is an operation with its path and method.
type operation struct {
	*openapi3.Operation
	path, method string
	parameters   []*openapi3.Parameter // including those of the path
}

// operations returns all operations, ordered by path and method.
func operations(doc *openapi3.T) []operation {
	var all []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{Operation: op, path: path, method: method}
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				o.parameters = append(o.parameters, p.Value)
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method))
	})
	return all
}

func (o operation) String() string { return o.OperationID + " (" + o.method + " " + o.path + ")" }

// isSecured reports whether the operation requires authentication.
func (o operation) isSecured(doc *openapi3.T) bool {
	if o.Security != nil {
		return len(*o.Security) > 0
	}
	return len(doc.Security) > 0
}

// scopes returns x-scopes, and whether the operation has it.
func (o operation) scopes() (scopes []string, present bool) {
	listed, present := o.Extensions["x-scopes"]
	return stringList(listed), present
}

// pathParameters returns the names of the parameters in the path.
func (o operation) pathParameters() []string {
	var names []string
	for _, segment := range strings.Split(o.path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// jsonBody returns the schema of the JSON request body, or nil.
func (o operation) jsonBody() *openapi3.SchemaRef {
	if o.RequestBody == nil {
		return nil
	}
	if media := o.RequestBody.Value.Content["application/json"]; media != nil {
		return media.Schema
	}
	return nil
}

// stringList returns an extension that is a list of strings. Any other value yields nil.
func stringList(extension any) []string {
	list, _ := extension.([]any)
	var found []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			found = append(found, text)
		}
	}
	return found
}

// eachSchema visits every schema of the document once, where it is defined. References are visited
// but not followed.
func eachSchema(doc *openapi3.T, visit func(where string, schema *openapi3.SchemaRef)) {
	for _, name := range sorted(doc.Components.Schemas) {
		descend("schema "+name, doc.Components.Schemas[name], visit)
	}
	for _, name := range sorted(doc.Components.Headers) {
		descend("header "+name, doc.Components.Headers[name].Value.Schema, visit)
	}
	for _, name := range sorted(doc.Components.Responses) {
		response := doc.Components.Responses[name].Value
		eachContentSchema("response "+name, response.Content, visit)
		for _, header := range sorted(response.Headers) {
			if response.Headers[header].Ref == "" {
				descend("response "+name+", header "+header, response.Headers[header].Value.Schema, visit)
			}
		}
	}
	eachParameter(doc, func(where string, p *openapi3.Parameter) { descend(where, p.Schema, visit) })
	for _, o := range operations(doc) {
		if o.RequestBody != nil {
			eachContentSchema(o.String()+", body", o.RequestBody.Value.Content, visit)
		}
		for _, status := range sorted(o.Responses.Map()) {
			if response := o.Responses.Map()[status]; response.Ref == "" {
				eachContentSchema(o.String()+", "+status, response.Value.Content, visit)
			}
		}
	}
}

// eachParameter visits every parameter of the document once.
func eachParameter(doc *openapi3.T, visit func(where string, p *openapi3.Parameter)) {
	for _, name := range sorted(doc.Components.Parameters) {
		visit("parameter "+name, doc.Components.Parameters[name].Value)
	}
	for _, path := range sorted(doc.Paths.Map()) {
		for _, p := range doc.Paths.Map()[path].Parameters {
			if p.Ref == "" {
				visit(path+", parameter "+p.Value.Name, p.Value)
			}
		}
	}
	for _, o := range operations(doc) {
		for _, p := range o.Parameters {
			if p.Ref == "" {
				visit(o.String()+", parameter "+p.Value.Name, p.Value)
			}
		}
	}
}

// eachHeader visits every response header of the document once.
func eachHeader(doc *openapi3.T, visit func(where string, h *openapi3.Header)) {
	for _, name := range sorted(doc.Components.Headers) {
		visit("header "+name, doc.Components.Headers[name].Value)
	}
	eachResponse(doc, func(where string, response *openapi3.Response) {
		for _, name := range sorted(response.Headers) {
			if response.Headers[name].Ref == "" {
				visit(where+", header "+name, response.Headers[name].Value)
			}
		}
	})
}

// eachMedia visits every media type of the document's requests and responses once.
func eachMedia(doc *openapi3.T, visit func(where string, media *openapi3.MediaType)) {
	each := func(where string, content openapi3.Content) {
		for _, kind := range sorted(content) {
			visit(where+", "+kind, content[kind])
		}
	}
	eachResponse(doc, func(where string, response *openapi3.Response) { each(where, response.Content) })
	for _, o := range operations(doc) {
		if o.RequestBody != nil {
			each(o.String()+", body", o.RequestBody.Value.Content)
		}
	}
}

// eachResponse visits every response once, where it is defined.
func eachResponse(doc *openapi3.T, visit func(where string, response *openapi3.Response)) {
	for _, name := range sorted(doc.Components.Responses) {
		visit("response "+name, doc.Components.Responses[name].Value)
	}
	for _, o := range operations(doc) {
		for _, status := range sorted(o.Responses.Map()) {
			if response := o.Responses.Map()[status]; response.Ref == "" {
				visit(o.String()+", "+status, response.Value)
			}
		}
	}
}

func eachContentSchema(where string, content openapi3.Content, visit func(string, *openapi3.SchemaRef)) {
	for _, kind := range sorted(content) {
		descend(where+", "+kind, content[kind].Schema, visit)
	}
}

func descend(where string, schema *openapi3.SchemaRef, visit func(string, *openapi3.SchemaRef)) {
	if schema == nil {
		return
	}
	visit(where, schema)
	if schema.Ref != "" {
		return
	}
	s := schema.Value
	for _, name := range sorted(s.Properties) {
		descend(where+"."+name, s.Properties[name], visit)
	}
	for i, variant := range variants(s) {
		descend(where+", variant "+strconv.Itoa(i), variant, visit)
	}
	descend(where+"[]", s.Items, visit)
	descend(where+".*", s.AdditionalProperties.Schema, visit)
	descend(where+", not", s.Not, visit)
}

func variants(s *openapi3.Schema) openapi3.SchemaRefs {
	return slices.Concat(s.OneOf, s.AnyOf, s.AllOf)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// component returns the name of the component that a schema references.
func component(schema *openapi3.SchemaRef) string {
	return strings.TrimPrefix(schema.Ref, "#/components/schemas/")
}

// find returns an operation, for mutations.
func find(doc *openapi3.T, operationID string) operation {
	for _, o := range operations(doc) {
		if o.OperationID == operationID {
			return o
		}
	}
	panic("unknown operation " + operationID)
}

// schemaOf returns a schema component.
func schemaOf(doc *openapi3.T, name string) *openapi3.Schema {
	return doc.Components.Schemas[name].Value
}
