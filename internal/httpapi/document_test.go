package httpapi_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

// document is the OpenAPI document. The tests parse their own copy.
var document = must(api.Load())

// operations are the operations of the document, sorted by ID.
var operations = readOperations()

// operation is an operation of the document, for tests that cover all operations.
type operation struct {
	*openapi3.Operation
	id, method, path string
	parameters       openapi3.Parameters // of the path and of the operation
	isSecured        bool                // accepts a key
	isOpen           bool                // accepts requests with or without a key
	rateClass        string
	scopes           []string
	messageFields    []string
}

func readOperations() []operation {
	var all []operation
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{
				Operation:     op,
				id:            op.OperationID,
				method:        method,
				path:          path,
				parameters:    append(slices.Clone(item.Parameters), op.Parameters...),
				isSecured:     op.Security == nil || len(*op.Security) > 0,
				isOpen:        op.Security != nil && slices.ContainsFunc(*op.Security, func(requirement openapi3.SecurityRequirement) bool { return len(requirement) == 0 }),
				rateClass:     fmt.Sprint(cmp.Or(op.Extensions["x-rate-limit"], any(""))),
				scopes:        words(op.Extensions["x-scopes"]),
				messageFields: words(op.Extensions["x-message-fields"]),
			})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// words reads an extension that is a list of words.
func words(extension any) []string {
	var list []string
	if err := json.Unmarshal(must(json.Marshal(extension)), &list); err != nil {
		panic(err)
	}
	return list
}

// jsonBody returns the schema of the operation's JSON body, or nil if it has none.
func (op operation) jsonBody() *openapi3.Schema {
	if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
		return nil
	}
	return op.RequestBody.Value.Content["application/json"].Schema.Value
}

func (op operation) isUpload() bool {
	return op.RequestBody != nil && op.RequestBody.Value.Content["multipart/form-data"] != nil
}

// isMessageField reports whether a violation at that pointer has the code invalid_message.
func (op operation) isMessageField(pointer string) bool {
	return slices.ContainsFunc(op.messageFields, func(field string) bool {
		return pointer == field || strings.HasPrefix(pointer, field+"/")
	})
}

// in returns the operation's parameters in a place: path, query or header.
func (op operation) in(place string) []*openapi3.Parameter {
	var found []*openapi3.Parameter
	for _, ref := range op.parameters {
		if ref.Value.In == place {
			found = append(found, ref.Value)
		}
	}
	return found
}

// schemaOf returns a schema of the document.
func schemaOf(name string) *openapi3.Schema { return document.Components.Schemas[name].Value }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
