package api_test

import (
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

func exampleRules() []rule {
	return []rule{
		{
			name: "every named schema has an example",
			check: func(doc *openapi3.T, complain complain) {
				for _, name := range sorted(doc.Components.Schemas) {
					if schema := doc.Components.Schemas[name]; schema.Ref == "" && schema.Value.Example == nil {
						complain("schema "+name, "has no example")
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { schemaOf(doc, "Health").Example = nil },
			},
		},
		{
			name: "every parameter has a description and an example",
			check: func(doc *openapi3.T, complain complain) {
				eachParameter(doc, func(where string, p *openapi3.Parameter) {
					if p.Description == "" {
						complain(where, "has no description")
					}
					if p.Example == nil && len(p.Examples) == 0 && (p.Schema == nil || p.Schema.Value.Example == nil) {
						complain(where, "has no example")
					}
				})
			},
			breaks: map[string]func(*openapi3.T){
				"no example":     func(doc *openapi3.T) { doc.Components.Parameters["Page"].Value.Schema.Value.Example = nil },
				"no description": func(doc *openapi3.T) { find(doc, "listConversations").Parameters[0].Value.Description = "" },
			},
		},
		{
			name: "every header has a description and an example",
			check: func(doc *openapi3.T, complain complain) {
				eachHeader(doc, func(where string, h *openapi3.Header) {
					if h.Description == "" {
						complain(where, "has no description")
					}
					if h.Schema == nil || h.Schema.Value.Example == nil {
						complain(where, "has no example")
					}
				})
			},
			breaks: map[string]func(*openapi3.T){
				"no description": func(doc *openapi3.T) { doc.Components.Headers["RateLimit"].Value.Description = "" },
				"no example": func(doc *openapi3.T) {
					find(doc, "exportRecords").Responses.Value("200").Value.Headers["Content-Disposition"].Value.Schema.Value.Example = nil
				},
			},
		},
		{
			name: "every content that can be shown has an example of its own",
			check: func(doc *openapi3.T, complain complain) {
				eachMedia(doc, func(where string, media *openapi3.MediaType) {
					if media.Schema == nil {
						complain(where, "has no schema")
						return
					}
					if media.Schema.Value.Format != "binary" && media.Example == nil && len(media.Examples) == 0 {
						complain(where, "has no example")
					}
				})
			},
			breaks: map[string]func(*openapi3.T){
				"none of a page": func(doc *openapi3.T) {
					find(doc, "getDocs").Responses.Value("200").Value.Content["text/html"].Example = nil
				},
				"none of a body": func(doc *openapi3.T) {
					find(doc, "sendMessage").RequestBody.Value.Content["application/json"].Examples = nil
				},
				"none of a refusal": func(doc *openapi3.T) { doc.Components.Responses["Conflict"].Value.Content[problemJSON].Examples = nil },
				"no schema": func(doc *openapi3.T) {
					find(doc, "getDocs").Responses.Value("200").Value.Content["text/html"].Schema = nil
				},
			},
		},
		{
			name: "every property that is written where it stands has an example",
			check: eachInline(func(where string, s *openapi3.Schema, complain complain) {
				for _, name := range sorted(s.Properties) {
					property := s.Properties[name]
					if property.Ref == "" && property.Value.Items == nil && property.Value.Format != "binary" && property.Value.Example == nil && !property.Value.Nullable {
						complain(where+"."+name, "has no example")
					}
				}
			}),
			breaks: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { schemaOf(doc, "Chatbot").Properties["name"].Value.Example = nil },
			},
		},
		{
			name:  "every example is valid",
			check: checkExamples,
			breaks: map[string]func(*openapi3.T){
				"of a schema":    func(doc *openapi3.T) { schemaOf(doc, "Health").Example = map[string]any{"status": "ill"} },
				"of a property":  func(doc *openapi3.T) { schemaOf(doc, "Message").Properties["feedback"].Value.Example = "love" },
				"of a parameter": func(doc *openapi3.T) { doc.Components.Parameters["Page"].Value.Schema.Value.Example = 0 },
				"beside a parameter's schema": func(doc *openapi3.T) {
					doc.Components.Parameters["Page"].Value.Example = "first"
				},
				"of several": func(doc *openapi3.T) {
					doc.Components.Parameters["Page"].Value.Examples = openapi3.Examples{
						"first": &openapi3.ExampleRef{Value: &openapi3.Example{Value: "first"}},
					}
				},
				"of a content": func(doc *openapi3.T) {
					find(doc, "getHealth").Responses.Value("200").Value.Content["application/json"].Example = "ok"
				},
				"a property missing": func(doc *openapi3.T) {
					delete(schemaOf(doc, "NamedReference").Example.(map[string]any), "id")
				},
				"no date": func(doc *openapi3.T) { schemaOf(doc, "Timestamp").Example = "yesterday" },
				"no id": func(doc *openapi3.T) {
					schemaOf(doc, "NamedReference").Example.(map[string]any)["id"] = "me"
				},
			},
		},
	}
}

func checkExamples(doc *openapi3.T, complain complain) {
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
			complain(where, "the example is not valid: %v", err)
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
