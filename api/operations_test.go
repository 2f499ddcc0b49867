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
			name: "it is OpenAPI 3.0.3",
			check: func(doc *openapi3.T, complain complain) {
				if doc.OpenAPI != "3.0.3" {
					complain("openapi", "is %s", doc.OpenAPI)
				}
			},
			breaks: map[string]func(*openapi3.T){
				"3.1": func(doc *openapi3.T) { doc.OpenAPI = "3.1.0" },
			},
		},
		{
			name: "operationIds are camelCase and unique",
			check: func(doc *openapi3.T, complain complain) {
				seen := map[string]bool{}
				for _, o := range operations(doc) {
					if !camelCase.MatchString(o.OperationID) {
						complain(o.String(), "the operationId is not camelCase")
					}
					// Generators fold the case of the first letter.
					if folded := strings.ToLower(o.OperationID); seen[folded] {
						complain(o.String(), "the operationId is another's")
					} else {
						seen[folded] = true
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none":       func(doc *openapi3.T) { find(doc, "getMe").OperationID = "" },
				"capital":    func(doc *openapi3.T) { find(doc, "getMe").OperationID = "GetMe" },
				"snake_case": func(doc *openapi3.T) { find(doc, "getMe").OperationID = "get_me" },
				"twice":      func(doc *openapi3.T) { find(doc, "getMe").OperationID = "getChatbot" },
			},
		},
		{
			name: "an operation has one tag, which is declared",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if len(o.Tags) != 1 {
						complain(o.String(), "has %d tags", len(o.Tags))
					}
					for _, tag := range o.Tags {
						if doc.Tags.Get(tag) == nil {
							complain(o.String(), "the tag %s is not declared", tag)
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none":       func(doc *openapi3.T) { find(doc, "getMe").Tags = nil },
				"two":        func(doc *openapi3.T) { find(doc, "getMe").Tags = []string{"ApiKeys", "Service"} },
				"undeclared": func(doc *openapi3.T) { find(doc, "getMe").Tags = []string{"Mine"} },
			},
		},
		{
			name: "an operation has a summary and a description",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if strings.TrimSpace(o.Summary) == "" {
						complain(o.String(), "has no summary")
					}
					if strings.TrimSpace(o.Description) == "" {
						complain(o.String(), "has no description")
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"no summary":     func(doc *openapi3.T) { find(doc, "getMe").Summary = "" },
				"no description": func(doc *openapi3.T) { find(doc, "getMe").Description = " " },
			},
		},
		{
			name:  "path parameters are declared and required",
			check: checkPathParameters,
			breaks: map[string]func(*openapi3.T){
				"undeclared": func(doc *openapi3.T) { doc.Paths.Value("/api/chatbots/{chatbotId}/").Parameters = nil },
				"optional":   func(doc *openapi3.T) { doc.Components.Parameters["ChatbotId"].Value.Required = false },
				"not in the path": func(doc *openapi3.T) {
					o := find(doc, "getMe")
					o.Parameters = append(o.Parameters, doc.Components.Parameters["ChatbotId"])
				},
			},
		},
		{
			name:  "x-message-fields name properties of the body",
			check: checkMessageFields,
			breaks: map[string]func(*openapi3.T){
				"unknown":   func(doc *openapi3.T) { setMessageFields(doc, "sendMessage", "/contents") },
				"no slash":  func(doc *openapi3.T) { setMessageFields(doc, "sendMessage", "content") },
				"too deep":  func(doc *openapi3.T) { setMessageFields(doc, "createCompletion", "/message/text") },
				"no body":   func(doc *openapi3.T) { setMessageFields(doc, "getMe", "/content") },
				"no list":   func(doc *openapi3.T) { find(doc, "sendMessage").Extensions["x-message-fields"] = "/content" },
				"no fields": func(doc *openapi3.T) { setMessageFields(doc, "sendMessage") },
			},
		},
	}
}

func checkPathParameters(doc *openapi3.T, complain complain) {
	for _, o := range operations(doc) {
		named := o.pathParameters()
		var declared []string
		for _, p := range o.parameters {
			if p.In != openapi3.ParameterInPath {
				continue
			}
			declared = append(declared, p.Name)
			if !p.Required {
				complain(o.String(), "the path parameter %s is not required", p.Name)
			}
			if !slices.Contains(named, p.Name) {
				complain(o.String(), "the parameter %s is not in the path", p.Name)
			}
		}
		for _, name := range named {
			if !slices.Contains(declared, name) {
				complain(o.String(), "the path parameter %s is not declared", name)
			}
		}
	}
}

func checkMessageFields(doc *openapi3.T, complain complain) {
	for _, o := range operations(doc) {
		extension, present := o.Extensions["x-message-fields"]
		if !present {
			continue
		}
		pointers := words(extension)
		if len(pointers) == 0 {
			complain(o.String(), "x-message-fields is no list of pointers")
		}
		for _, pointer := range pointers {
			if !points(pointer, o.jsonBody()) {
				complain(o.String(), "x-message-fields names %s, which the body does not have", pointer)
			}
		}
	}
}

func points(pointer string, schema *openapi3.SchemaRef) bool {
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
