package api_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

var camelCase = regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)

func operationRules() []rule {
	return []rule{
		{
			name: "document is OpenAPI 3.0.3",
			check: func(doc *openapi3.T, report reportFunc) {
				if doc.OpenAPI != "3.0.3" {
					report("openapi", "is %s", doc.OpenAPI)
				}
			},
			mutations: map[string]func(*openapi3.T){
				"3.1": func(doc *openapi3.T) { doc.OpenAPI = "3.1.0" },
			},
		},
		{
			name: "operationIds are camelCase and unique",
			check: func(doc *openapi3.T, report reportFunc) {
				seen := map[string]bool{}
				for _, o := range operations(doc) {
					if !camelCase.MatchString(o.OperationID) {
						report(o.String(), "the operationId is not camelCase")
					}
					// Generators change the case of the first letter.
					if folded := strings.ToLower(o.OperationID); seen[folded] {
						report(o.String(), "the operationId is not unique")
					} else {
						seen[folded] = true
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"missing":    func(doc *openapi3.T) { find(doc, "getMe").OperationID = "" },
				"PascalCase": func(doc *openapi3.T) { find(doc, "getMe").OperationID = "GetMe" },
				"snake_case": func(doc *openapi3.T) { find(doc, "getMe").OperationID = "get_me" },
				"duplicate":  func(doc *openapi3.T) { find(doc, "getMe").OperationID = "getChatbot" },
			},
		},
		{
			name: "operations have one declared tag",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if len(o.Tags) != 1 {
						report(o.String(), "has %d tags", len(o.Tags))
					}
					for _, tag := range o.Tags {
						if doc.Tags.Get(tag) == nil {
							report(o.String(), "the tag %s is not declared", tag)
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"missing":    func(doc *openapi3.T) { find(doc, "getMe").Tags = nil },
				"two":        func(doc *openapi3.T) { find(doc, "getMe").Tags = []string{"ApiKeys", "Service"} },
				"undeclared": func(doc *openapi3.T) { find(doc, "getMe").Tags = []string{"Mine"} },
			},
		},
		{
			name: "operations have a summary and a description",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if strings.TrimSpace(o.Summary) == "" {
						report(o.String(), "has no summary")
					}
					if strings.TrimSpace(o.Description) == "" {
						report(o.String(), "has no description")
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"no summary":     func(doc *openapi3.T) { find(doc, "getMe").Summary = "" },
				"no description": func(doc *openapi3.T) { find(doc, "getMe").Description = " " },
			},
		},
		{
			name:  "path parameters are declared and required",
			check: checkPathParameters,
			mutations: map[string]func(*openapi3.T){
				"undeclared": func(doc *openapi3.T) { doc.Paths.Value("/api/chatbots/{chatbotId}/").Parameters = nil },
				"optional":   func(doc *openapi3.T) { doc.Components.Parameters["ChatbotId"].Value.Required = false },
				"not in the path": func(doc *openapi3.T) {
					o := find(doc, "getMe")
					o.Parameters = append(o.Parameters, doc.Components.Parameters["ChatbotId"])
				},
			},
		},
		{
			name:  "x-message-fields are properties of the body",
			check: checkMessageFields,
			mutations: map[string]func(*openapi3.T){
				"unknown":    func(doc *openapi3.T) { setMessageFields(doc, "sendMessage", "/contents") },
				"no slash":   func(doc *openapi3.T) { setMessageFields(doc, "sendMessage", "content") },
				"too deep":   func(doc *openapi3.T) { setMessageFields(doc, "createCompletion", "/message/text") },
				"no body":    func(doc *openapi3.T) { setMessageFields(doc, "getMe", "/content") },
				"not a list": func(doc *openapi3.T) { find(doc, "sendMessage").Extensions["x-message-fields"] = "/content" },
				"no fields":  func(doc *openapi3.T) { setMessageFields(doc, "sendMessage") },
			},
		},
	}
}

func checkPathParameters(doc *openapi3.T, report reportFunc) {
	for _, o := range operations(doc) {
		named := o.pathParameters()
		var declared []string
		for _, p := range o.parameters {
			if p.In != openapi3.ParameterInPath {
				continue
			}
			declared = append(declared, p.Name)
			if !p.Required {
				report(o.String(), "the path parameter %s is not required", p.Name)
			}
			if !slices.Contains(named, p.Name) {
				report(o.String(), "the parameter %s is not in the path", p.Name)
			}
		}
		for _, name := range named {
			if !slices.Contains(declared, name) {
				report(o.String(), "the path parameter %s is not declared", name)
			}
		}
	}
}

func checkMessageFields(doc *openapi3.T, report reportFunc) {
	for _, o := range operations(doc) {
		extension, present := o.Extensions["x-message-fields"]
		if !present {
			continue
		}
		pointers := stringList(extension)
		if len(pointers) == 0 {
			report(o.String(), "x-message-fields is not a list of JSON Pointers")
		}
		for _, pointer := range pointers {
			if !pointsInto(pointer, o.jsonBody()) {
				report(o.String(), "x-message-fields has %s, which is not a property of the body", pointer)
			}
		}
	}
}

// pointsInto reports whether a JSON Pointer names a property of the schema.
func pointsInto(pointer string, schema *openapi3.SchemaRef) bool {
	names := strings.Split(pointer, "/")
	if names[0] != "" || len(names) < 2 {
		return false
	}
	for _, name := range names[1:] {
		if schema == nil || schema.Value.Properties[name] == nil {
			return false
		}
		schema = schema.Value.Properties[name]
	}
	return true
}

func setMessageFields(doc *openapi3.T, operationID string, pointers ...string) {
	list := []any{}
	for _, pointer := range pointers {
		list = append(list, pointer)
	}
	o := find(doc, operationID)
	if o.Extensions == nil {
		o.Extensions = map[string]any{}
	}
	o.Extensions["x-message-fields"] = list
}
