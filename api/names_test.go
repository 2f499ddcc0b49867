package api_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// conversationsFamily lists the operations of the Conversations family: no trailing slash, names in
// snake_case. All other operations below /api belong to the Chatbots family.
var conversationsFamily = []string{
	"startConversation", "sendMessage", "getHistory", "listConversations", "batchConversations",
}

// snakeCase lists the operations with names in snake_case: the Conversations family, the WebSocket,
// the operations that are compatible with OpenAI's API, and one whose response MaiAgent's clients read.
var snakeCase = append([]string{"broadcastMessage", "connect", "createChatCompletion", "createResponse", "listModels", "getModel"}, conversationsFamily...)

// ownNames lists schemas of both families whose names are given by RFC 9457 or by the reference's
// query metadata.
var ownNames = []string{"Problem", "QueryMetadata"}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func nameRules() []rule {
	return []rule{
		{
			name: "paths have the trailing slash of their family",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					want := strings.HasPrefix(o.path, "/api/") && !slices.Contains(conversationsFamily, o.OperationID)
					if strings.HasSuffix(o.path, "/") != want {
						report(o.String(), "the path must end in a slash: %t", want)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"no slash":                      func(doc *openapi3.T) { renamePath(doc, "/api/me/", "/api/me") },
				"a slash":                       func(doc *openapi3.T) { renamePath(doc, "/healthz", "/healthz/") },
				"a slash, Conversations family": func(doc *openapi3.T) { renamePath(doc, "/api/conversations/start", "/api/conversations/start/") },
			},
		},
		{
			name: "parameters have the case of their family",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					for _, p := range o.parameters {
						if p.In == openapi3.ParameterInQuery && !o.hasFamilyCase(p.Name) {
							report(o.String(), "the query parameter %s does not have the case of the family", p.Name)
						}
						if p.In == openapi3.ParameterInPath && !camelCase.MatchString(p.Name) {
							report(o.String(), "the path parameter %s is not camelCase", p.Name)
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"snake_case in the Chatbots family": func(doc *openapi3.T) {
					doc.Components.Parameters["PageSize"].Value.Name = "page_size"
				},
				"camelCase in the Conversations family": func(doc *openapi3.T) {
					find(doc, "listConversations").Parameters[0].Value.Name = "botId"
				},
				"snake_case in a path": func(doc *openapi3.T) {
					doc.Components.Parameters["ChatbotId"].Value.Name = "chatbot_id"
				},
			},
		},
		{
			name: "properties have the case of their family",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					p := properties{operation: o, report: report, seen: map[*openapi3.Schema]bool{}}
					p.check(o.jsonBody())
					for status, response := range o.Responses.Map() {
						if media := response.Value.Content["application/json"]; media != nil && status[0] == '2' {
							p.check(media.Schema)
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"snake_case in the Chatbots family":     func(doc *openapi3.T) { renameProperty(doc, "Conversation", "lastMessage", "last_message") },
				"camelCase in the Conversations family": func(doc *openapi3.T) { renameProperty(doc, "SentMessage", "message_id", "messageId") },
				"in a request":                          func(doc *openapi3.T) { renameProperty(doc, "CompletionCreate", "isStreaming", "is_streaming") },
				"deep":                                  func(doc *openapi3.T) { renameProperty(doc, "ChatbotTextNode", "filename", "file_name") },
				"deprecated": func(doc *openapi3.T) {
					renameProperty(doc, "ConversationCreate", "webChat", "web_chat")
					schemaOf(doc, "ConversationCreate").Properties["web_chat"].Value.Deprecated = true
				},
			},
		},
		{
			name:  "schema names do not collide with generated names",
			check: checkGeneratedNames,
			mutations: map[string]func(*openapi3.T){
				"Response":    func(doc *openapi3.T) { addSchema(doc, "GetMeResponse") },
				"Params":      func(doc *openapi3.T) { addSchema(doc, "ListMessagesParams") },
				"JSONBody":    func(doc *openapi3.T) { addSchema(doc, "SendMessageJSONBody") },
				"RequestBody": func(doc *openapi3.T) { addSchema(doc, "sendMessageRequestBody") },
			},
		},
		{
			name:  "components of different kinds have different names",
			check: checkComponentNames,
			mutations: map[string]func(*openapi3.T){
				"a parameter": func(doc *openapi3.T) {
					doc.Components.Parameters["Locale"] = doc.Components.Parameters["ExportLocale"]
				},
				"a scheme": func(doc *openapi3.T) {
					doc.Components.SecuritySchemes["apiKey"] = doc.Components.SecuritySchemes["apiKeyHeader"]
				},
			},
		},
		{
			name: "no type has the name of a language's own",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, name := range sorted(doc.Components.Schemas) {
					if slices.Contains(languageNames, strings.ToLower(name)) {
						report("schema "+name, "hides a type of a language")
					}
				}
				eachSchema(doc, func(where string, schema *openapi3.SchemaRef) {
					for _, name := range sorted(schema.Value.Properties) {
						property := schema.Value.Properties[name]
						if schema.Ref == "" && property.Ref == "" && len(property.Value.Enum) > 0 && slices.Contains(languageNames, name) {
							report(where+"."+name, "is an inline enum with the name of a keyword: name it as a schema")
						}
					}
				})
			},
			mutations: map[string]func(*openapi3.T){
				"a schema": func(doc *openapi3.T) { addSchema(doc, "Record") },
				"an enum": func(doc *openapi3.T) {
					properties := schemaOf(doc, "ProblemItem").Properties
					properties["in"] = properties["in"].Value.NewRef()
				},
			},
		},
	}
}

// hasFamilyCase reports whether the name of a query parameter or a property has the case of the
// operation's family. A single word has both.
func (o operation) hasFamilyCase(name string) bool {
	if slices.Contains(snakeCase, o.OperationID) {
		return snake.MatchString(name)
	}
	return camelCase.MatchString(name)
}

// properties checks the names of all properties in an operation's requests and responses.
type properties struct {
	operation operation
	report    reportFunc
	seen      map[*openapi3.Schema]bool
}

func (p properties) check(schema *openapi3.SchemaRef) {
	if schema == nil || p.seen[schema.Value] || slices.Contains(ownNames, component(schema)) {
		return
	}
	p.seen[schema.Value] = true
	for _, name := range sorted(schema.Value.Properties) {
		property := schema.Value.Properties[name]
		if !p.operation.hasFamilyCase(name) {
			p.report(p.operation.String(), "the property %s of %s does not have the case of the family", name, schema.Ref)
		}
		p.check(property)
	}
	for _, variant := range variants(schema.Value) {
		p.check(variant)
	}
	p.check(schema.Value.Items)
	p.check(schema.Value.AdditionalProperties.Schema)
}

func checkGeneratedNames(doc *openapi3.T, report reportFunc) {
	generated := map[string]string{}
	for _, o := range operations(doc) {
		for _, suffix := range []string{"Response", "Params", "JSONBody", "RequestBody"} {
			generated[capitalize(o.OperationID)+suffix] = o.String()
		}
	}
	for _, name := range sorted(doc.Components.Schemas) {
		if operation, ok := generated[capitalize(name)]; ok {
			report("schema "+name, "generators use this name for a type of %s", operation)
		}
	}
}

// languageNames are types and keywords of the languages that clients are generated for.
var languageNames = []string{"class", "date", "default", "enum", "error", "event", "function", "in", "interface", "list", "map", "object", "package", "record", "request", "response", "set", "string", "symbol"}

// checkComponentNames checks that no schema has the name of a parameter or a security scheme, for
// which generators make types too.
func checkComponentNames(doc *openapi3.T, report reportFunc) {
	schemas := map[string]bool{}
	for name := range doc.Components.Schemas {
		schemas[strings.ToLower(name)] = true
	}
	for _, name := range slices.Concat(sorted(doc.Components.Parameters), sorted(doc.Components.SecuritySchemes)) {
		if schemas[strings.ToLower(name)] {
			report("component "+name, "has the name of a schema")
		}
	}
}

func capitalize(name string) string {
	if name == "" {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func renamePath(doc *openapi3.T, from, to string) {
	doc.Paths.Set(to, doc.Paths.Value(from))
	doc.Paths.Delete(from)
}

func renameProperty(doc *openapi3.T, schema, from, to string) {
	properties := schemaOf(doc, schema).Properties
	properties[to] = properties[from]
	delete(properties, from)
}

func addSchema(doc *openapi3.T, name string) {
	doc.Components.Schemas[name] = openapi3.NewObjectSchema().NewRef()
}
