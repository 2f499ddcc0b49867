package api_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// conversationsFamily are the operations whose paths have no trailing slash and
// whose names are snake_case; all others under /api are the Chatbots family's.
var conversationsFamily = []string{
	"startConversation", "sendMessage", "getHistory", "listConversations", "batchConversations",
}

// snakeCase are the operations with names in snake_case: beside the Conversations
// family the WebSocket, which speaks as that does, and what speaks as OpenAI does.
var snakeCase = append([]string{"connect", "createChatCompletion", "listModels", "getModel"}, conversationsFamily...)

// ownNames are the schemas with names of their own, in both families: those of RFC
// 9457 and of the reference's query metadata.
var ownNames = []string{"Problem", "QueryMetadata"}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func nameRules() []rule {
	return []rule{
		{
			name: "paths end as their family's do",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					want := strings.HasPrefix(o.path, "/api/") && !slices.Contains(conversationsFamily, o.OperationID)
					if strings.HasSuffix(o.path, "/") != want {
						complain(o.String(), "should the path end in a slash? %t", want)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"no slash":                       func(doc *openapi3.T) { rename(doc, "/api/me/", "/api/me") },
				"a slash":                        func(doc *openapi3.T) { rename(doc, "/healthz", "/healthz/") },
				"a slash, Conversations' family": func(doc *openapi3.T) { rename(doc, "/api/conversations/start", "/api/conversations/start/") },
			},
		},
		{
			name: "parameters are named as their family's are",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					for _, p := range o.parameters {
						if p.In == openapi3.ParameterInQuery && !o.nameFits(p.Name) {
							complain(o.String(), "the query parameter %s is not in the family's spelling", p.Name)
						}
						if p.In == openapi3.ParameterInPath && !camelCase.MatchString(p.Name) {
							complain(o.String(), "the path parameter %s is not camelCase", p.Name)
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
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
			name: "properties are named as their family's are",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					p := properties{operation: o, complain: complain, seen: map[*openapi3.Schema]bool{}}
					p.check(o.jsonBody())
					for status, response := range o.Responses.Map() {
						if media := response.Value.Content["application/json"]; media != nil && status[0] == '2' {
							p.check(media.Schema)
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"snake_case in the Chatbots family":     func(doc *openapi3.T) { respell(doc, "Conversation", "lastMessage", "last_message") },
				"camelCase in the Conversations family": func(doc *openapi3.T) { respell(doc, "SentMessage", "message_id", "messageId") },
				"in a request":                          func(doc *openapi3.T) { respell(doc, "CompletionCreate", "isStreaming", "is_streaming") },
				"deep":                                  func(doc *openapi3.T) { respell(doc, "ChatbotTextNode", "filename", "file_name") },
				"deprecated without another": func(doc *openapi3.T) {
					respell(doc, "ConversationCreate", "webChat", "web_chat")
					schemaOf(doc, "ConversationCreate").Properties["web_chat"].Value.Deprecated = true
				},
			},
		},
		{
			name:  "no schema has a name that generators give",
			check: checkGeneratedNames,
			breaks: map[string]func(*openapi3.T){
				"Response":    func(doc *openapi3.T) { addSchema(doc, "GetMeResponse") },
				"Params":      func(doc *openapi3.T) { addSchema(doc, "ListMessagesParams") },
				"JSONBody":    func(doc *openapi3.T) { addSchema(doc, "SendMessageJSONBody") },
				"RequestBody": func(doc *openapi3.T) { addSchema(doc, "sendMessageRequestBody") },
			},
		},
	}
}

// nameFits tells whether a query parameter or a property is spelt in the
// operation's way. A single word is both.
func (o operation) nameFits(name string) bool {
	if slices.Contains(snakeCase, o.OperationID) {
		return snake.MatchString(name)
	}
	return camelCase.MatchString(name)
}

// properties checks all that an operation takes or answers.
type properties struct {
	operation operation
	complain  complain
	seen      map[*openapi3.Schema]bool
}

func (p properties) check(schema *openapi3.SchemaRef) {
	if schema == nil || p.seen[schema.Value] || slices.Contains(ownNames, component(schema)) {
		return
	}
	p.seen[schema.Value] = true
	for _, name := range sorted(schema.Value.Properties) {
		property := schema.Value.Properties[name]
		if !p.operation.nameFits(name) && !p.isOldSpelling(name, property) {
			p.complain(p.operation.String(), "the property %s of %s is not in the family's spelling", name, schema.Ref)
		}
		p.check(property)
	}
	for _, variant := range variants(schema.Value) {
		p.check(variant)
	}
	p.check(schema.Value.Items)
	p.check(schema.Value.AdditionalProperties.Schema)
}

// isOldSpelling tells whether a property is the deprecated twin, in snake_case, of
// one in camelCase that the operation takes: existing clients of the Chatbots family
// send those.
func (p properties) isOldSpelling(name string, property *openapi3.SchemaRef) bool {
	words := strings.Split(name, "_")
	for i, word := range words[1:] {
		if word != "" {
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	twin := strings.Join(words, "")
	return property.Value.Deprecated && twin != name && hasProperty(p.operation.jsonBody(), twin)
}

func hasProperty(schema *openapi3.SchemaRef, name string) bool {
	if schema == nil {
		return false
	}
	if schema.Value.Properties[name] != nil {
		return true
	}
	below := slices.Concat(slices.Collect(maps.Values(schema.Value.Properties)), variants(schema.Value), openapi3.SchemaRefs{schema.Value.Items})
	return slices.ContainsFunc(below, func(one *openapi3.SchemaRef) bool { return hasProperty(one, name) })
}

func checkGeneratedNames(doc *openapi3.T, complain complain) {
	taken := map[string]string{}
	for _, o := range operations(doc) {
		for _, ending := range []string{"Response", "Params", "JSONBody", "RequestBody"} {
			taken[capital(o.OperationID)+ending] = o.String()
		}
	}
	for _, name := range sorted(doc.Components.Schemas) {
		if by, ok := taken[capital(name)]; ok {
			complain("schema "+name, "generators give this name to something of %s", by)
		}
	}
}

func capital(name string) string {
	if name == "" {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func rename(doc *openapi3.T, from, to string) {
	doc.Paths.Set(to, doc.Paths.Value(from))
	doc.Paths.Delete(from)
}

func respell(doc *openapi3.T, schema, from, to string) {
	properties := schemaOf(doc, schema).Properties
	properties[to] = properties[from]
	delete(properties, from)
}

func addSchema(doc *openapi3.T, name string) {
	doc.Components.Schemas[name] = openapi3.NewObjectSchema().NewRef()
}
