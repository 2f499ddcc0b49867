package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"parley/internal/auth"
)

// scopesWithoutAgent are the scopes that do not give access to conversations of other users.
var scopesWithoutAgent = []auth.Scope{auth.Chat, auth.RecordsRead, auth.RecordsWrite, auth.Manage}

// resourceIDs are IDs of resources by kind. The kind is the collection in the path of the resource, such as conversations.
type resourceIDs map[string]string

// unknownIDs returns an unknown ID of each kind.
func unknownIDs() resourceIDs {
	ids := resourceIDs{}
	for _, kind := range []string{"conversations", "messages", "runs", "chatbots", "faqs", "web-chats", "api-keys", "contacts", "inboxes", "attachments", "records"} {
		ids[kind] = uuid.Must(uuid.NewV7()).String()
	}
	ids["problems"] = "no_such_code"
	return ids
}

// createResources creates a resource of each kind for the caller: a chatbot with an FAQ, a conversation with an answered message
// that has an attachment and a sender, and a web chat with its inbox and a key.
func (c caller) createResources() resourceIDs {
	c.t.Helper()
	ids := resourceIDs{"problems": "not_found"}
	manager := c.as("manager of "+c.user, auth.Admin)
	ids["chatbots"] = text(manager.post("/api/chatbots/", object{"name": "Another"}), "id")
	ids["faqs"] = text(manager.post("/api/chatbots/"+ids["chatbots"]+"/faqs/", object{"question": "Where?", "answer": "Here."}), "id")
	shop := manager.post("/api/web-chats/", object{"name": "Shop"})
	ids["web-chats"], ids["inboxes"] = text(shop, "id"), text(shop, "inbox")
	ids["api-keys"] = text(manager.post("/api/api-keys/", object{"name": "Spare"}), "id")

	talker := c.as(c.user, auth.Chat)
	ids["conversations"] = text(talker.post("/api/conversations/start", object{"bot_id": ids["chatbots"]}), "conversation_id")
	sent := talker.post("/api/messages/", object{
		"conversation": ids["conversations"], "content": question,
		"attachments": []object{{"file": "https://files.example.com/" + uuid.NewString() + ".png"}},
	})
	ids["messages"] = text(sent, "id")
	ids["runs"] = text(sent, "runId")
	ids["attachments"] = text(objects(sent, "attachments")[0], "id")
	ids["contacts"] = text(sent["sender"].(object), "id")
	talker.awaitRun(ids["runs"])
	ids["records"] = ids["runs"]
	return ids
}

// kindOf returns the kind of a path parameter's ID: the collection before it. A model is a chatbot.
func kindOf(path, parameter string) string {
	before, _, _ := strings.Cut(path, "/{"+parameter+"}")
	if kind := before[strings.LastIndex(before, "/")+1:]; kind != "models" {
		return kind
	}
	return "chatbots"
}

// kindsByName maps properties of bodies and query parameters to the kinds of their IDs.
var kindsByName = map[string]string{
	"conversation": "conversations", "conversation_id": "conversations", "session_id": "conversations",
	"bot_id": "chatbots", "chatbot": "chatbots", "model": "chatbots",
	"webChat": "web-chats", "contact": "contacts", "sender": "contacts",
	"inbox": "inboxes", "inboxes": "inboxes", "ids": "faqs",
	"inbox_id": "inboxes",
}

// singleTarget are operations whose body must name exactly one of several resources.
var singleTarget = map[string]bool{"createClientToken": true, "createWsTicket": true}

// dayParameters are values of required query parameters, around the time of the test.
var dayParameters = map[string]string{
	"startDate": time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly),
	"endDate":   time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly),
}

// target returns an operation's path and query. It adds the required parameters that the query lacks.
func (op operation) target(ids resourceIDs, query string) string {
	for _, parameter := range op.in("query") {
		if parameter.Required && !strings.HasPrefix("&"+query, "&"+parameter.Name+"=") {
			query = strings.TrimPrefix(query+"&"+parameter.Name+"="+dayParameters[parameter.Name], "&")
		}
	}
	if query == "" {
		return op.pathOf(ids)
	}
	return op.pathOf(ids) + "?" + query
}

// pathOf returns an operation's path with its IDs.
func (op operation) pathOf(ids resourceIDs) string {
	path := op.path
	for _, parameter := range op.in("path") {
		id, ok := ids[kindOf(op.path, parameter.Name)]
		if !ok {
			panic(fmt.Sprintf("%s: what is {%s} an id of? teach things", op.id, parameter.Name))
		}
		path = strings.ReplaceAll(path, "{"+parameter.Name+"}", url.PathEscape(id))
	}
	return path
}

// extraFields are fields of a valid body that its schema does not require, by operation.
var extraFields = map[string]object{
	"startConversation":    {"initial_message": "Hello"},
	"sendMessage":          {"content": "Hello"},
	"broadcastMessage":     {"inbox_id": ""},
	"createClientToken":    {"contact": ""},
	"createChatCompletion": {"messages": []any{object{"role": "user", "content": "Hello"}}},
}

// minimalBody returns a valid body for an operation: its required fields, with the examples of their schemas and the given
// IDs.
func (op operation) minimalBody(ids resourceIDs) object {
	schema := op.jsonBody()
	if schema == nil {
		return nil
	}
	body := object{}
	for _, name := range schema.Required {
		body[name] = sampleOf(schema.Properties[name].Value)
	}
	maps.Copy(body, clone(extraFields[op.id]).(object))
	fillIDs(body, ids)
	return body
}

// sampleOf returns a valid value for a schema: its example, or a list or an object of such values. An object that
// requires no property has all properties. A model has a server.
func sampleOf(schema *openapi3.Schema) any {
	switch {
	case schema.Example != nil:
		return clone(schema.Example)
	case schema.Items != nil:
		return []any{sampleOf(schema.Items.Value)}
	case !schema.Type.Is("object"):
		return nil // its example is null
	}
	sample := object{}
	for name, property := range schema.Properties {
		if len(schema.Required) == 0 || slices.Contains(schema.Required, name) || name == "baseUrl" {
			sample[name] = sampleOf(property.Value)
		}
	}
	return sample
}

// fillIDs replaces the IDs of examples in a body by the given ones.
func fillIDs(value any, ids resourceIDs) {
	switch value := value.(type) {
	case object:
		for name, item := range value {
			if _, isObject := item.(object); kindsByName[name] != "" && !isObject { // a chatbot's model is one
				value[name] = ids[kindsByName[name]]
				if _, isList := item.([]any); isList {
					value[name] = []any{ids[kindsByName[name]]}
				}
			} else {
				fillIDs(item, ids)
			}
		}
	case []any:
		for _, item := range value {
			fillIDs(item, ids)
		}
	}
}

// idPlace is a position in a request that takes an ID.
type idPlace struct {
	name string
	kind string
	// put returns an otherwise valid request with an ID at that place.
	put func(base resourceIDs, id string) (path string, body any)
}

// idPlaces returns all places where the operation takes an ID.
func (op operation) idPlaces() []idPlace {
	var found []idPlace
	for _, parameter := range op.in("path") {
		kind := kindOf(op.path, parameter.Name)
		if kind == "problems" {
			continue
		}
		found = append(found, idPlace{"path " + parameter.Name, kind, func(base resourceIDs, id string) (string, any) {
			changed := maps.Clone(base)
			changed[kind] = id
			return op.target(changed, ""), op.validBody(base)
		}})
	}
	for _, parameter := range op.in("query") {
		if kind := kindsByName[parameter.Name]; kind != "" {
			found = append(found, idPlace{"query " + parameter.Name, kind, func(base resourceIDs, id string) (string, any) {
				return op.target(base, parameter.Name+"="+id), op.validBody(base)
			}})
		}
	}
	if schema := op.jsonBody(); schema != nil {
		found = append(found, op.bodyIDPlaces(schema, "")...)
	}
	return found
}

func (op operation) bodyIDPlaces(schema *openapi3.Schema, pointer string) []idPlace {
	var found []idPlace
	for name, property := range schema.Properties {
		at, kind := pointer+"/"+name, kindsByName[name]
		switch {
		case property.Value.Type.Is("object"):
			kind = ""
		case name == "attachments":
			at, kind = at+"/0/id", "attachments"
		case property.Value.Items != nil && kind != "":
			at += "/0"
		case property.Value.Items != nil && kind == "":
			found = append(found, op.bodyIDPlaces(property.Value.Items.Value, at+"/0")...)
		}
		if kind != "" {
			found = append(found, idPlace{"body " + at, kind, func(base resourceIDs, id string) (string, any) {
				body := op.minimalBody(base)
				if singleTarget[op.id] {
					body = object{}
				}
				setAt(body, at, id)
				return op.target(base, ""), body
			}})
		}
		if len(property.Value.Properties) > 0 {
			found = append(found, op.bodyIDPlaces(property.Value, at)...)
		}
	}
	return found
}

// validBody returns a valid body, or nil for operations without a body.
func (op operation) validBody(ids resourceIDs) any {
	if body := op.minimalBody(ids); body != nil {
		return body
	}
	return nil
}

// deletes reports whether a request of the operation deletes what it names.
func (op operation) deletes() bool { return op.method == http.MethodDelete || op.id == "deleteFaqs" }

// isStaffOnly reports whether the operation requires the scope agent.
func (op operation) isStaffOnly() bool { return slices.Equal(op.scopes, []string{"agent"}) }

// send sends a request of the operation. An upload has a file with one row, and a WebSocket operation the upgrade
// headers.
func (op operation) send(c caller, path string, body any, options ...option) answer {
	c.t.Helper()
	if op.isUpload() && body == nil {
		form, kind := upload("file", "faqs.csv", []byte("question,answer\nWhere?,Here.\n"))
		return c.call(op.method, path, form, append([]option{kind}, options...)...)
	}
	if op.id == "connect" {
		options = append([]option{upgrade}, options...)
	}
	return c.call(op.method, path, body, options...)
}

// upgrade adds the headers of a WebSocket handshake.
func upgrade(request *http.Request) {
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		request.Header.Set(name, value)
	}
}

// setAt stores a value at a pointer of a body and creates missing objects and lists on the way.
func setAt(body object, pointer string, value any) {
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, part := range parts[:len(parts)-1] {
		if parts[i+1] == "0" {
			list, ok := body[part].([]any)
			if !ok || len(list) == 0 {
				list = []any{object{}}
				body[part] = list
			}
			if i+2 == len(parts) {
				list[0] = value
				return
			}
			continue
		}
		if part == "0" {
			body = body[parts[i-1]].([]any)[0].(object)
			continue
		}
		next, ok := body[part].(object)
		if !ok {
			next = object{}
			body[part] = next
		}
		body = next
	}
	body[parts[len(parts)-1]] = value
}

// clone copies a tree of JSON values.
func clone(value any) any {
	switch value := value.(type) {
	case object:
		copied := make(object, len(value))
		for key, item := range value {
			copied[key] = clone(item)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, item := range value {
			copied[i] = clone(item)
		}
		return copied
	}
	return value
}
