package api_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func schemaRules() []rule {
	return []rule{
		{
			name:  "a discriminator is a string and maps every variant",
			check: eachInline(checkDiscriminator),
			breaks: map[string]func(*openapi3.T){
				"on a boolean": func(doc *openapi3.T) { discriminate(doc, "done", "Completion", "CompletionEvent") },
				"not mapped": func(doc *openapi3.T) {
					discriminate(doc, "name", "ChatbotReference", "NamedReference")
					delete(schemaOf(doc, "Either").Discriminator.Mapping, "NamedReference")
				},
				"not there": func(doc *openapi3.T) { discriminate(doc, "kind", "ChatbotReference", "NamedReference") },
				"optional": func(doc *openapi3.T) {
					discriminate(doc, "name", "ChatbotReference", "NamedReference")
					schemaOf(doc, "NamedReference").Required = []string{"id"}
				},
				"nothing to choose": func(doc *openapi3.T) { discriminate(doc, "name") },
			},
		},
		{
			name: "a single value is an enum, never a const",
			check: eachInline(func(where string, s *openapi3.Schema, complain complain) {
				if _, extra := s.Extensions["const"]; s.Const != nil || extra {
					complain(where, "has a const")
				}
			}),
			breaks: map[string]func(*openapi3.T){
				"a const": func(doc *openapi3.T) { schemaOf(doc, "Health").Properties["status"].Value.Const = "ok" },
				"deep": func(doc *openapi3.T) {
					find(doc, "getDocs").Responses.Value("200").Value.Content["text/html"].Schema.Value.Const = "x"
				},
			},
		},
		{
			name:  "null is said by nullable alone",
			check: eachInline(checkNullable),
			breaks: map[string]func(*openapi3.T){
				"beside anyOf": func(doc *openapi3.T) {
					s := schemaOf(doc, "Sender")
					s.AnyOf = openapi3.SchemaRefs{openapi3.NewStringSchema().NewRef()}
				},
				"beside allOf": func(doc *openapi3.T) {
					schemaOf(doc, "Usage").AllOf = openapi3.SchemaRefs{doc.Components.Schemas["Health"]}
				},
				"a variant that is null": func(doc *openapi3.T) {
					null := openapi3.NewSchema()
					null.Enum = []any{nil}
					schemaOf(doc, "Chatbot").OneOf = openapi3.SchemaRefs{null.NewRef()}
				},
				"a variant that may be null": func(doc *openapi3.T) {
					schemaOf(doc, "Chatbot").OneOf = openapi3.SchemaRefs{doc.Components.Schemas["Sender"]}
				},
				"a type":                   func(doc *openapi3.T) { schemaOf(doc, "Seq").Type = &openapi3.Types{"integer", "null"} },
				"an enum that is nullable": func(doc *openapi3.T) { schemaOf(doc, "Engine").Nullable = true },
				"an enum of null": func(doc *openapi3.T) {
					s := schemaOf(doc, "Engine")
					s.Enum = append(s.Enum, nil)
				},
			},
		},
		{
			name: "what a body must have of several is said in words and enforced in code",
			check: func(doc *openapi3.T, complain complain) {
				seen := map[*openapi3.Schema]bool{}
				for _, o := range operations(doc) {
					if o.RequestBody == nil {
						continue
					}
					for _, media := range o.RequestBody.Value.Content {
						eachWithin(media.Schema, seen, func(s *openapi3.Schema) {
							if len(s.OneOf) > 0 || len(s.AnyOf) > 1 || s.Not != nil {
								complain(o.String()+", body", "has a schema that offers a choice, by oneOf, anyOf or not")
							}
						})
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"one of two": func(doc *openapi3.T) {
					schemaOf(doc, "AttachmentInput").OneOf = openapi3.SchemaRefs{doc.Components.Schemas["Health"]}
				},
				"any of two": func(doc *openapi3.T) {
					schemaOf(doc, "AttachmentInput").AnyOf = openapi3.SchemaRefs{doc.Components.Schemas["Health"], doc.Components.Schemas["Readiness"]}
				},
				"not both": func(doc *openapi3.T) { schemaOf(doc, "FaqCreate").Not = doc.Components.Schemas["Health"] },
			},
		},
		{
			name: "the conversation of a completion is a plain string or null",
			check: func(doc *openapi3.T, complain complain) {
				s := schemaOf(doc, "CompletionCreate").Properties["conversation"]
				if s.Ref != "" || !s.Value.Type.Is("string") || !s.Value.Nullable || s.Value.Format != "" || s.Value.MinLength != 0 {
					complain("CompletionCreate.conversation", "is more than that")
				}
			},
			breaks: map[string]func(*openapi3.T){
				"never null": func(doc *openapi3.T) {
					schemaOf(doc, "CompletionCreate").Properties["conversation"].Value.Nullable = false
				},
				"never empty": func(doc *openapi3.T) {
					schemaOf(doc, "CompletionCreate").Properties["conversation"].Value.MinLength = 1
				},
			},
		},
		{
			name:  "the generators of a decade make something of it that compiles",
			check: eachInline(checkOlderGenerators),
			breaks: map[string]func(*openapi3.T){
				"two properties, one name": func(doc *openapi3.T) {
					schemaOf(doc, "CompletionCreate").Properties["is_streaming"] = openapi3.NewBoolSchema().NewRef()
				},
				"an enum of booleans": func(doc *openapi3.T) { schemaOf(doc, "Completion").Properties["done"].Value.Enum = []any{true} },
				"anything, plainly":   func(doc *openapi3.T) { schemaOf(doc, "Canvas").Properties["canvasType"].Value.AllOf = nil },
				"anything in a list": func(doc *openapi3.T) {
					schemaOf(doc, "LabelRelations").Properties["conditions"].Value.Items.Value.AllOf = nil
				},
				"a map with properties": func(doc *openapi3.T) {
					schemaOf(doc, "QueryRestriction").AdditionalProperties.Has = new(true)
				},
				"a discriminator": func(doc *openapi3.T) {
					schemaOf(doc, "ServerFrame").Discriminator = &openapi3.Discriminator{PropertyName: "type"}
				},
			},
		},
		{
			name: "what is named as a time is a time",
			check: eachInline(func(where string, s *openapi3.Schema, complain complain) {
				for name, property := range s.Properties {
					if timeName.MatchString(name) && property.Value.Format != "date-time" {
						complain(where+"."+name, "is no date-time")
					}
				}
			}),
			breaks: map[string]func(*openapi3.T){
				"camelCase":  func(doc *openapi3.T) { schemaOf(doc, "Chatbot").Properties["createdAt"].Value.Format = "" },
				"snake_case": func(doc *openapi3.T) { schemaOf(doc, "StatusFrame").Properties["expires_at"].Value.Format = "" },
			},
		},
		{
			name: "the values of an enum differ",
			check: eachInline(func(where string, s *openapi3.Schema, complain complain) {
				var seen []string
				for _, value := range s.Enum {
					written, err := json.Marshal(value)
					if err != nil || slices.Contains(seen, string(written)) {
						complain(where, "has %s twice", written)
					}
					seen = append(seen, string(written))
				}
			}),
			breaks: map[string]func(*openapi3.T){
				"twice": func(doc *openapi3.T) {
					s := schemaOf(doc, "Speaker")
					s.Enum = append(s.Enum, "bot")
				},
			},
		},
		{
			name: "what is required is a property",
			check: eachInline(func(where string, s *openapi3.Schema, complain complain) {
				for _, name := range s.Required {
					if s.Properties[name] == nil {
						complain(where, "%s is required but no property", name)
					}
				}
			}),
			breaks: map[string]func(*openapi3.T){
				"misspelt": func(doc *openapi3.T) { schemaOf(doc, "Health").Required = []string{"state"} },
			},
		},
	}
}

var timeName = regexp.MustCompile(`(At|_at|[tT]imestamp|last_activity)$`)

// eachWithin visits a schema and all that it is made of.
func eachWithin(schema *openapi3.SchemaRef, seen map[*openapi3.Schema]bool, visit func(*openapi3.Schema)) {
	if schema == nil || seen[schema.Value] {
		return
	}
	seen[schema.Value] = true
	visit(schema.Value)
	for _, property := range schema.Value.Properties {
		eachWithin(property, seen, visit)
	}
	for _, part := range variants(schema.Value) {
		eachWithin(part, seen, visit)
	}
	eachWithin(schema.Value.Items, seen, visit)
	eachWithin(schema.Value.AdditionalProperties.Schema, seen, visit)
}

// eachInline makes a rule of one about a schema.
func eachInline(check func(where string, s *openapi3.Schema, complain complain)) func(*openapi3.T, complain) {
	return func(doc *openapi3.T, complain complain) {
		eachSchema(doc, func(where string, schema *openapi3.SchemaRef) {
			if schema.Ref == "" {
				check(where, schema.Value, complain)
			}
		})
	}
}

func checkDiscriminator(where string, s *openapi3.Schema, complain complain) {
	if s.Discriminator == nil {
		return
	}
	name := s.Discriminator.PropertyName
	choices := slices.Concat(s.OneOf, s.AnyOf)
	if len(choices) == 0 {
		complain(where, "has a discriminator but no variants")
	}
	var mapped []string
	for _, target := range s.Discriminator.Mapping {
		mapped = append(mapped, target.Ref)
	}
	for _, variant := range choices {
		property := variant.Value.Properties[name]
		switch {
		case property == nil || !slices.Contains(variant.Value.Required, name):
			complain(where, "the variant %s does not require the discriminator %s", variant.Ref, name)
		case !property.Value.Type.Is("string"):
			complain(where, "the discriminator %s of %s is no string", name, variant.Ref)
		}
		if variant.Ref == "" || !slices.Contains(mapped, variant.Ref) {
			complain(where, "the variant %s is not mapped", variant.Ref)
		}
	}
}

// checkOlderGenerators asks for what openapi-generator 4 and swagger-codegen 3 need, whose Java and Python would not
// compile without it.
func checkOlderGenerators(where string, s *openapi3.Schema, complain complain) {
	names := map[string]string{}
	for name := range s.Properties {
		made := strings.ToLower(strings.ReplaceAll(name, "_", ""))
		if names[made] != "" {
			complain(where, "%s and %s become one name", name, names[made])
		}
		names[made] = name
	}
	if s.Type.Is("boolean") && len(s.Enum) > 0 {
		complain(where, "is an enum of booleans")
	}
	if s.Type == nil && len(variants(s)) == 0 && s.Not == nil && !strings.HasSuffix(where, ", variant 0") {
		complain(where, "may be anything: write allOf: [{}] and x-all-of-name: object")
	}
	if s.AdditionalProperties.Has != nil && *s.AdditionalProperties.Has && len(s.Properties) > 0 {
		complain(where, "is a map and has properties: compose it of the two")
	}
	if s.Discriminator != nil {
		complain(where, "has a discriminator, of which they make a property that is none: an enum of one value tells variants apart")
	}
}

func checkNullable(where string, s *openapi3.Schema, complain complain) {
	if s.Nullable && len(variants(s)) > 0 {
		complain(where, "is nullable beside anyOf, oneOf or allOf")
	}
	for _, variant := range variants(s) {
		if variant.Value.Nullable || slices.Contains(variant.Value.Enum, nil) {
			complain(where, "has a variant that may be null")
		}
	}
	if s.Type.Includes("null") {
		complain(where, "has the type null")
	}
	if len(s.Enum) > 0 && (s.Nullable || slices.Contains(s.Enum, nil)) {
		complain(where, "has an enum and may be null: validators want null in the enum, generators make a name of it; write a pattern")
	}
}

// discriminate adds a schema that is one of the variants.
func discriminate(doc *openapi3.T, property string, names ...string) {
	s := openapi3.NewSchema()
	s.Discriminator = &openapi3.Discriminator{PropertyName: property, Mapping: map[string]openapi3.MappingRef{}}
	for _, name := range names {
		ref := "#/components/schemas/" + name
		s.OneOf = append(s.OneOf, openapi3.NewSchemaRef(ref, schemaOf(doc, name)))
		s.Discriminator.Mapping[name] = openapi3.MappingRef{Ref: ref}
	}
	doc.Components.Schemas["Either"] = s.NewRef()
}
