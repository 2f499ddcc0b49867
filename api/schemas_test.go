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
			name:  "discriminators are strings and map every variant",
			check: eachInline(checkDiscriminator),
			mutations: map[string]func(*openapi3.T){
				"on a boolean": func(doc *openapi3.T) { discriminate(doc, "done", "Completion", "CompletionEvent") },
				"not mapped": func(doc *openapi3.T) {
					discriminate(doc, "name", "ChatbotReference", "NamedReference")
					delete(schemaOf(doc, "Either").Discriminator.Mapping, "NamedReference")
				},
				"not a property": func(doc *openapi3.T) { discriminate(doc, "kind", "ChatbotReference", "NamedReference") },
				"optional": func(doc *openapi3.T) {
					discriminate(doc, "name", "ChatbotReference", "NamedReference")
					schemaOf(doc, "NamedReference").Required = []string{"id"}
				},
				"no variants": func(doc *openapi3.T) { discriminate(doc, "name") },
			},
		},
		{
			name: "single values are enums, not consts",
			check: eachInline(func(where string, s *openapi3.Schema, report reportFunc) {
				if _, extra := s.Extensions["const"]; s.Const != nil || extra {
					report(where, "has a const")
				}
			}),
			mutations: map[string]func(*openapi3.T){
				"a const": func(doc *openapi3.T) { schemaOf(doc, "Health").Properties["status"].Value.Const = "ok" },
				"deep": func(doc *openapi3.T) {
					find(doc, "getDocs").Responses.Value("200").Value.Content["text/html"].Schema.Value.Const = "x"
				},
			},
		},
		{
			name:  "null is expressed by nullable only",
			check: eachInline(checkNullable),
			mutations: map[string]func(*openapi3.T){
				"with anyOf": func(doc *openapi3.T) {
					s := schemaOf(doc, "Sender")
					s.AnyOf = openapi3.SchemaRefs{openapi3.NewStringSchema().NewRef()}
				},
				"with allOf": func(doc *openapi3.T) {
					schemaOf(doc, "Usage").AllOf = openapi3.SchemaRefs{doc.Components.Schemas["Health"]}
				},
				"null variant": func(doc *openapi3.T) {
					null := openapi3.NewSchema()
					null.Enum = []any{nil}
					schemaOf(doc, "Chatbot").OneOf = openapi3.SchemaRefs{null.NewRef()}
				},
				"nullable variant": func(doc *openapi3.T) {
					schemaOf(doc, "Chatbot").OneOf = openapi3.SchemaRefs{doc.Components.Schemas["Sender"]}
				},
				"null type":     func(doc *openapi3.T) { schemaOf(doc, "Seq").Type = &openapi3.Types{"integer", "null"} },
				"nullable enum": func(doc *openapi3.T) { schemaOf(doc, "Engine").Nullable = true },
				"enum with null": func(doc *openapi3.T) {
					s := schemaOf(doc, "Engine")
					s.Enum = append(s.Enum, nil)
				},
			},
		},
		{
			name: "request bodies have no oneOf, anyOf or not",
			check: func(doc *openapi3.T, report reportFunc) {
				seen := map[*openapi3.Schema]bool{}
				for _, o := range operations(doc) {
					if o.RequestBody == nil {
						continue
					}
					for _, media := range o.RequestBody.Value.Content {
						eachNested(media.Schema, seen, func(s *openapi3.Schema) {
							if len(s.OneOf) > 0 || len(s.AnyOf) > 0 || s.Not != nil {
								report(o.String()+", body", "has a schema with oneOf, anyOf or not; state the rule in the description and enforce it in code")
							}
						})
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"one of two": func(doc *openapi3.T) {
					schemaOf(doc, "AttachmentInput").OneOf = openapi3.SchemaRefs{doc.Components.Schemas["Health"]}
				},
				"any of two": func(doc *openapi3.T) {
					schemaOf(doc, "AttachmentInput").AnyOf = openapi3.SchemaRefs{doc.Components.Schemas["Health"], doc.Components.Schemas["Readiness"]}
				},
				"not": func(doc *openapi3.T) { schemaOf(doc, "FaqCreate").Not = doc.Components.Schemas["Health"] },
			},
		},
		{
			name: "conversation of a completion is a plain nullable string",
			check: func(doc *openapi3.T, report reportFunc) {
				s := schemaOf(doc, "CompletionCreate").Properties["conversation"]
				if s.Ref != "" || !s.Value.Type.Is("string") || !s.Value.Nullable || s.Value.Format != "" || s.Value.MinLength != 0 {
					report("CompletionCreate.conversation", "is not a plain nullable string")
				}
			},
			mutations: map[string]func(*openapi3.T){
				"not nullable": func(doc *openapi3.T) {
					schemaOf(doc, "CompletionCreate").Properties["conversation"].Value.Nullable = false
				},
				"not empty": func(doc *openapi3.T) {
					schemaOf(doc, "CompletionCreate").Properties["conversation"].Value.MinLength = 1
				},
			},
		},
		{
			name:  "older generators produce code that compiles",
			check: eachInline(checkOlderGenerators),
			mutations: map[string]func(*openapi3.T){
				"colliding property names": func(doc *openapi3.T) {
					schemaOf(doc, "CompletionCreate").Properties["is_streaming"] = openapi3.NewBoolSchema().NewRef()
				},
				"boolean enum":  func(doc *openapi3.T) { schemaOf(doc, "Completion").Properties["done"].Value.Enum = []any{true} },
				"untyped value": func(doc *openapi3.T) { schemaOf(doc, "Canvas").Properties["canvasType"].Value.AllOf = nil },
				"untyped item": func(doc *openapi3.T) {
					schemaOf(doc, "LabelRelations").Properties["conditions"].Value.Items.Value.AllOf = nil
				},
				"map with properties": func(doc *openapi3.T) {
					schemaOf(doc, "QueryRestriction").AdditionalProperties.Has = new(true)
				},
				"discriminator": func(doc *openapi3.T) {
					schemaOf(doc, "ServerFrame").Discriminator = &openapi3.Discriminator{PropertyName: "type"}
				},
			},
		},
		{
			name: "time properties have the format date-time",
			check: eachInline(func(where string, s *openapi3.Schema, report reportFunc) {
				for name, property := range s.Properties {
					if timeName.MatchString(name) && property.Value.Format != "date-time" && !property.Value.Type.Is("integer") { // OpenAI's API has Unix times
						report(where+"."+name, "does not have the format date-time")
					}
				}
			}),
			mutations: map[string]func(*openapi3.T){
				"camelCase":  func(doc *openapi3.T) { schemaOf(doc, "Chatbot").Properties["createdAt"].Value.Format = "" },
				"snake_case": func(doc *openapi3.T) { schemaOf(doc, "StatusFrame").Properties["expires_at"].Value.Format = "" },
			},
		},
		{
			name: "enum values are unique",
			check: eachInline(func(where string, s *openapi3.Schema, report reportFunc) {
				var seen []string
				for _, value := range s.Enum {
					written, err := json.Marshal(value)
					if err != nil || slices.Contains(seen, string(written)) {
						report(where, "has the value %s twice", written)
					}
					seen = append(seen, string(written))
				}
			}),
			mutations: map[string]func(*openapi3.T){
				"twice": func(doc *openapi3.T) {
					s := schemaOf(doc, "Speaker")
					s.Enum = append(s.Enum, "bot")
				},
			},
		},
		{
			name: "required names are properties",
			check: eachInline(func(where string, s *openapi3.Schema, report reportFunc) {
				for _, name := range s.Required {
					if s.Properties[name] == nil {
						report(where, "%s is required but not a property", name)
					}
				}
			}),
			mutations: map[string]func(*openapi3.T){
				"misspelt": func(doc *openapi3.T) { schemaOf(doc, "Health").Required = []string{"state"} },
			},
		},
	}
}

var timeName = regexp.MustCompile(`(At|_at|[tT]imestamp|last_activity)$`)

// eachNested visits a schema and all schemas that it contains, following references.
func eachNested(schema *openapi3.SchemaRef, seen map[*openapi3.Schema]bool, visit func(*openapi3.Schema)) {
	if schema == nil || seen[schema.Value] {
		return
	}
	seen[schema.Value] = true
	visit(schema.Value)
	for _, property := range schema.Value.Properties {
		eachNested(property, seen, visit)
	}
	for _, part := range variants(schema.Value) {
		eachNested(part, seen, visit)
	}
	eachNested(schema.Value.Items, seen, visit)
	eachNested(schema.Value.AdditionalProperties.Schema, seen, visit)
}

// eachInline returns a check that applies the given check to every schema that is not a reference.
func eachInline(check func(where string, s *openapi3.Schema, report reportFunc)) func(*openapi3.T, reportFunc) {
	return func(doc *openapi3.T, report reportFunc) {
		eachSchema(doc, func(where string, schema *openapi3.SchemaRef) {
			if schema.Ref == "" {
				check(where, schema.Value, report)
			}
		})
	}
}

func checkDiscriminator(where string, s *openapi3.Schema, report reportFunc) {
	if s.Discriminator == nil {
		return
	}
	name := s.Discriminator.PropertyName
	choices := slices.Concat(s.OneOf, s.AnyOf)
	if len(choices) == 0 {
		report(where, "has a discriminator but no variants")
	}
	var mapped []string
	for _, target := range s.Discriminator.Mapping {
		mapped = append(mapped, target.Ref)
	}
	for _, variant := range choices {
		property := variant.Value.Properties[name]
		switch {
		case property == nil || !slices.Contains(variant.Value.Required, name):
			report(where, "the variant %s does not require the discriminator %s", variant.Ref, name)
		case !property.Value.Type.Is("string"):
			report(where, "the discriminator %s of %s is not a string", name, variant.Ref)
		}
		if variant.Ref == "" || !slices.Contains(mapped, variant.Ref) {
			report(where, "the variant %s is not mapped", variant.Ref)
		}
	}
}

// checkOlderGenerators checks the constructs for which openapi-generator 4 and swagger-codegen 3
// generate Java or Python code that does not compile.
func checkOlderGenerators(where string, s *openapi3.Schema, report reportFunc) {
	names := map[string]string{}
	for name := range s.Properties {
		folded := strings.ToLower(strings.ReplaceAll(name, "_", ""))
		if names[folded] != "" {
			report(where, "%s and %s become the same name", name, names[folded])
		}
		names[folded] = name
	}
	if s.Type.Is("boolean") && len(s.Enum) > 0 {
		report(where, "is an enum of booleans")
	}
	if s.Type == nil && len(variants(s)) == 0 && s.Not == nil && !strings.HasSuffix(where, ", variant 0") {
		report(where, "has no type: write allOf: [{}] and x-all-of-name: object")
	}
	if s.AdditionalProperties.Has != nil && *s.AdditionalProperties.Has && len(s.Properties) > 0 {
		report(where, "is a map and has properties: compose it from a map and an object")
	}
	if s.Discriminator != nil {
		report(where, "has a discriminator, which they generate as an additional property: distinguish variants by an enum with one value")
	}
}

func checkNullable(where string, s *openapi3.Schema, report reportFunc) {
	if s.Nullable && len(variants(s)) > 0 {
		report(where, "is nullable and has anyOf, oneOf or allOf")
	}
	for _, variant := range variants(s) {
		if variant.Value.Nullable || slices.Contains(variant.Value.Enum, nil) {
			report(where, "has a nullable variant")
		}
	}
	if s.Type.Includes("null") {
		report(where, "has the type null")
	}
	if len(s.Enum) > 0 && s.Nullable != slices.Contains(s.Enum, nil) {
		report(where, "is nullable without null in its enum, or the reverse: validators need both")
	}
}

// discriminate adds a schema Either with a discriminator and the given variants.
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
