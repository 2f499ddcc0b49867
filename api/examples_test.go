package api_test

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

func exampleRules() []rule {
	return []rule{
		{
			name: "named schemas of single values have an example",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, name := range sorted(doc.Components.Schemas) {
					if schema := doc.Components.Schemas[name]; schema.Ref == "" && !isOfObjects(schema.Value) && schema.Value.Example == nil {
						report("schema "+name, "has no example")
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { schemaOf(doc, "Slug").Example = nil },
			},
		},
		{
			name: "schemas have no objects as examples",
			check: func(doc *openapi3.T, report reportFunc) {
				eachSchema(doc, func(where string, schema *openapi3.SchemaRef) {
					if schema.Ref == "" && hasObject(schema.Value.Example) {
						report(where, "has an object as its example: validators take an id in it for a schema's, and mock servers prefer it to the example of the response")
					}
				})
			},
			mutations: map[string]func(*openapi3.T){
				"of an object": func(doc *openapi3.T) { schemaOf(doc, "Health").Example = map[string]any{"status": "ok"} },
				"of a list": func(doc *openapi3.T) {
					schemaOf(doc, "Chatbot").Properties["name"].Value.Example = []any{map[string]any{}}
				},
			},
		},
		{
			name: "parameters have a description and an example",
			check: func(doc *openapi3.T, report reportFunc) {
				eachParameter(doc, func(where string, p *openapi3.Parameter) {
					if p.Description == "" {
						report(where, "has no description")
					}
					if p.Example == nil && len(p.Examples) == 0 && (p.Schema == nil || p.Schema.Value.Example == nil) {
						report(where, "has no example")
					}
				})
			},
			mutations: map[string]func(*openapi3.T){
				"no example":     func(doc *openapi3.T) { doc.Components.Parameters["Page"].Value.Schema.Value.Example = nil },
				"no description": func(doc *openapi3.T) { find(doc, "listConversations").Parameters[0].Value.Description = "" },
			},
		},
		{
			name: "headers have a description and an example",
			check: func(doc *openapi3.T, report reportFunc) {
				eachHeader(doc, func(where string, h *openapi3.Header) {
					if h.Description == "" {
						report(where, "has no description")
					}
					if h.Schema == nil || h.Schema.Value.Example == nil {
						report(where, "has no example")
					}
				})
			},
			mutations: map[string]func(*openapi3.T){
				"no description": func(doc *openapi3.T) { doc.Components.Headers["RateLimit"].Value.Description = "" },
				"no example": func(doc *openapi3.T) {
					find(doc, "exportRecords").Responses.Value("200").Value.Headers["Content-Disposition"].Value.Schema.Value.Example = nil
				},
			},
		},
		{
			name: "contents have a schema and, unless binary, an example",
			check: func(doc *openapi3.T, report reportFunc) {
				eachMedia(doc, func(where string, media *openapi3.MediaType) {
					if media.Schema == nil {
						report(where, "has no schema")
						return
					}
					if media.Schema.Value.Format != "binary" && media.Example == nil && len(media.Examples) == 0 {
						report(where, "has no example")
					}
				})
			},
			mutations: map[string]func(*openapi3.T){
				"page": func(doc *openapi3.T) {
					find(doc, "getDocs").Responses.Value("200").Value.Content["text/html"].Example = nil
				},
				"body": func(doc *openapi3.T) {
					find(doc, "sendMessage").RequestBody.Value.Content["application/json"].Examples = nil
				},
				"error": func(doc *openapi3.T) { doc.Components.Responses["Conflict"].Value.Content[problemJSON].Examples = nil },
				"no schema": func(doc *openapi3.T) {
					find(doc, "getDocs").Responses.Value("200").Value.Content["text/html"].Schema = nil
				},
			},
		},
		{
			name: "inline properties have an example",
			check: eachInline(func(where string, s *openapi3.Schema, report reportFunc) {
				for _, name := range sorted(s.Properties) {
					property := s.Properties[name]
					if property.Ref == "" && property.Value.Items == nil && property.Value.Format != "binary" && !isOfObjects(property.Value) && property.Value.Example == nil && !property.Value.Nullable {
						report(where+"."+name, "has no example")
					}
				}
			}),
			mutations: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { schemaOf(doc, "Chatbot").Properties["name"].Value.Example = nil },
			},
		},
		{
			name:  "examples are valid",
			check: checkExamples,
			mutations: map[string]func(*openapi3.T){
				"of a schema":    func(doc *openapi3.T) { schemaOf(doc, "ConversationStatus").Example = "ill" },
				"of a property":  func(doc *openapi3.T) { schemaOf(doc, "Message").Properties["feedback"].Value.Example = "love" },
				"of a parameter": func(doc *openapi3.T) { doc.Components.Parameters["Page"].Value.Schema.Value.Example = 0 },
				"of a parameter, outside its schema": func(doc *openapi3.T) {
					doc.Components.Parameters["Page"].Value.Example = "first"
				},
				"of several examples": func(doc *openapi3.T) {
					doc.Components.Parameters["Page"].Value.Examples = openapi3.Examples{
						"first": &openapi3.ExampleRef{Value: &openapi3.Example{Value: "first"}},
					}
				},
				"of a content": func(doc *openapi3.T) {
					find(doc, "getHealth").Responses.Value("200").Value.Content["application/json"].Example = "ok"
				},
				"missing property": func(doc *openapi3.T) {
					delete(doc.Components.Examples["getContact200"].Value.Value.(map[string]any), "id")
				},
				"invalid date": func(doc *openapi3.T) { schemaOf(doc, "Timestamp").Example = "yesterday" },
				"invalid id": func(doc *openapi3.T) {
					schemaOf(doc, "NamedReference").Properties["id"].Value.Example = "me"
				},
			},
		},
	}
}

// isOfObjects reports whether a schema describes objects or variants of them, whose examples are those
// of requests and responses.
func isOfObjects(schema *openapi3.Schema) bool {
	return schema.Type.Is("object") || len(variants(schema)) > 0
}

// hasObject reports whether a value is or contains an object.
func hasObject(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		return true
	case []any:
		return slices.ContainsFunc(value, hasObject)
	}
	return false
}

func checkExamples(doc *openapi3.T, report reportFunc) {
	isID := openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		_, err := uuid.Parse(text)
		return err
	}))
	check := func(where string, schema *openapi3.SchemaRef, example any) {
		if example == nil || schema == nil {
			return
		}
		err := schema.Value.VisitJSON(example, openapi3.MultiErrors(), openapi3.EnableFormatValidation(), isID)
		if err != nil {
			report(where, "invalid example: %v", err)
		}
	}
	several := func(where string, schema *openapi3.SchemaRef, examples openapi3.Examples) {
		for name, example := range examples {
			check(where+", "+name, schema, example.Value.Value)
		}
	}
	eachSchema(doc, func(where string, schema *openapi3.SchemaRef) {
		if schema.Ref == "" {
			check(where, schema, schema.Value.Example)
		}
	})
	eachParameter(doc, func(where string, p *openapi3.Parameter) {
		check(where, p.Schema, p.Example)
		several(where, p.Schema, p.Examples)
	})
	eachHeader(doc, func(where string, h *openapi3.Header) {
		if text, isText := h.Schema.Value.Example.(string); isText {
			check(where, h.Schema, text)
		}
	})
	eachMedia(doc, func(where string, media *openapi3.MediaType) {
		check(where, media.Schema, media.Example)
		several(where, media.Schema, media.Examples)
	})
}
