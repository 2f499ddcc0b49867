package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// spelling writes a request the way one of MaiAgent's published clients does.
type spelling struct {
	name      string
	isSnake   bool
	isMinimal bool // attachments are ids, not objects
}

// body returns a body in the client's spelling.
func (s spelling) body(fields object) object {
	if s.isSnake {
		return snakeKeys(fields).(object)
	}
	return fields
}

// freeFields hold JSON of the caller, whose keys keep their spelling.
var freeFields = []string{"queryMetadata", "contentPayload"}

func snakeKeys(value any) any {
	fields, isObject := value.(object)
	if !isObject {
		return value
	}
	snake := object{}
	for name, item := range fields {
		if !slices.Contains(freeFields, name) {
			item = snakeKeys(item)
		}
		snake[snakeCase(name)] = item
	}
	return snake
}

// The flow of MaiAgent's examples, in Python's spelling and in that of C#: a contact, a conversation, completions as JSON
// and as a stream, its messages, records and the export. Each field that was sent is found again.
func TestFlowsOfMaiAgentLoseNothing(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("backend", auth.Admin)
	for _, client := range []spelling{{name: "Python", isSnake: true}, {name: "C#", isMinimal: true}} {
		f := &vendorFlow{caller: admin, spelling: client, website: o.webChat.ID.String(), inbox: o.webChat.InboxID.String()}
		f.createContact()
		f.createConversation()
		f.complete()
		f.stream()
		f.readMessages()
		f.changeConversation()
		f.readRecords()
		f.broadcast()
	}
}

// vendorFlow is one client's flow. Its steps run in order.
type vendorFlow struct {
	caller
	spelling
	website, inbox                   string
	contact, conversation, messageID string
	attachment                       object
}

var vendorMetadata = object{"knowledge_bases": []any{object{"knowledge_base_id": "kb", "has_user_selected_all": true}}, "userTier": "gold"}

func (f *vendorFlow) send(method, path string, fields object, status int) object {
	f.t.Helper()
	return f.call(method, "/api/v1/"+path, f.body(fields)).wantStatus(status)
}

// find fails the test unless an answer has the fields.
func (f *vendorFlow) find(answer, want object) {
	f.t.Helper()
	for name, value := range want {
		if !sameJSON(f.t, answer[name], value) {
			f.t.Errorf("%s: %s is %v, want %v", f.name, name, answer[name], value)
		}
	}
}

func (f *vendorFlow) createContact() {
	f.t.Helper()
	fields := object{"name": "王小明 " + f.name, "email": "ming@example.com", "phoneNumber": "+886 2 1234", "sourceId": "line-" + f.name, "queryMetadata": vendorMetadata}
	sent := object{"inboxes": []any{object{"id": f.inbox}}, "avatar": nil, "mcpCredentials": []any{}}
	for name, value := range fields {
		sent[name] = value
	}
	f.contact = text(f.send(http.MethodPost, "contacts/", sent, 201), "id")
	fields["inboxes"], fields["avatar"] = []any{object{"id": f.inbox, "name": "Website"}}, nil
	f.find(f.get("/api/v1/contacts/"+f.contact+"/"), fields)
	for _, query := range []string{"query=line-" + strings.ReplaceAll(f.name, "#", "%23") + "&inboxes=" + f.inbox + "&limit=20&offset=0", "query=" + strings.ToUpper(f.contact), "search=" + strings.ReplaceAll(f.name, "#", "%23")} {
		if got := idsOf(objects(f.get("/api/v1/contacts/?"+query), "results")); !slices.Equal(got, []string{f.contact}) {
			f.t.Errorf("%s: %s finds %v", f.name, query, got)
		}
	}
}

func (f *vendorFlow) createConversation() {
	f.t.Helper()
	made := f.send(http.MethodPost, "conversations/", object{"webChat": f.website, "contact": f.contact}, 201)
	f.conversation = text(made, "id")
	if got := made["contact"].(object)["id"]; got != f.contact {
		f.t.Errorf("%s: the conversation is with %v", f.name, got)
	}
	f.find(made["inbox"].(object), object{"id": f.inbox, "name": "Website"})
}

func (f *vendorFlow) complete() {
	f.t.Helper()
	attachment := object{"type": "image", "filename": "screen.png", "file": "https://files.example.com/" + f.contact + ".png"}
	answer := f.send(http.MethodPost, "chatbots/parley/completions/", object{
		"conversation": f.conversation,
		"message": object{
			"content": question + " " + f.name, "contentPayload": object{"rawText": "x", "camelKey": 1}, "queryMetadata": vendorMetadata,
			"attachments": []any{attachment}, "sender": f.contact,
		},
		"isStreaming": false,
	}, 200)
	f.find(answer, object{"conversationId": f.conversation, "done": true})
	listed := objects(f.get("/api/v1/messages/?conversation="+f.conversation), "results")
	f.messageID = text(listed[1], "id") // newest first: the reply is before it
	f.find(listed[1], object{
		"content": question + " " + f.name, "contentPayload": object{"rawText": "x", "camelKey": 1}, "queryMetadata": vendorMetadata, "type": "incoming",
	})
	f.find(listed[1]["sender"].(object), object{"id": f.contact, "name": "王小明 " + f.name})
	f.attachment = objects(listed[1], "attachments")[0]
	f.find(f.attachment, attachment)
	f.find(listed[0], object{"id": answer["messageId"], "content": answer["content"], "type": "outgoing"})
}

func (f *vendorFlow) stream() {
	f.t.Helper()
	var known any = f.attachment
	if f.isMinimal {
		known = f.attachment["id"]
	}
	body := object{"conversation": f.conversation, "message": object{"content": "Streamed?", "attachments": []any{known}}, "isStreaming": true}
	streamed := f.call(http.MethodPost, "/api/v1/chatbots/parley/completions", f.body(body))
	content, last := checkStream(f.t, streamed.events())
	if last["conversationId"] != f.conversation || content == "" {
		f.t.Errorf("%s: the stream of %v ends with %v", f.name, content, last)
	}
	message := objects(f.get("/api/v1/messages/?conversation="+f.conversation), "results")[1]
	f.find(objects(message, "attachments")[0], f.attachment)
}

func (f *vendorFlow) readMessages() {
	f.t.Helper()
	for _, parameter := range []string{"conversation", "conversation_id", "conversationId"} {
		page := f.get("/api/v1/messages/?page_size=3&" + parameter + "=" + f.conversation)
		if got := objects(page, "results"); len(got) != 3 || !strings.Contains(text(page, "next"), "/api/v1/messages/?") || len(objects(f.get(text(page, "next")), "results")) != 1 {
			f.t.Errorf("%s: %s lists %v", f.name, parameter, got)
		}
		f.find(f.get("/api/v1/messages/"+f.messageID+"/?"+parameter+"="+f.conversation), object{"id": f.messageID, "conversation": f.conversation})
	}
	sent := f.send(http.MethodPost, "messages/", object{"conversation": f.conversation, "type": "incoming", "content": "Polled", "queryMetadata": object{"a": 1}, "contentPayload": object{"b": 2}}, 201)
	f.find(sent, object{"content": "Polled", "queryMetadata": object{"a": 1}, "contentPayload": object{"b": 2}})
	f.awaitRun(text(sent, "runId"))
	if latest := objects(f.get("/api/v1/messages/?conversation="+f.conversation+"&pageSize=1"), "results")[0]; latest["type"] != "outgoing" || latest["runId"] != sent["runId"] {
		f.t.Errorf("%s: the newest message is %v", f.name, latest)
	}
}

func (f *vendorFlow) changeConversation() {
	f.t.Helper()
	path := "conversations/" + f.conversation + "/"
	f.find(f.send(http.MethodPatch, path+"update-auto-reply/", object{"autoReplyEnabled": false}, 200), object{"autoReplyEnabled": false, "isAutoReplyNow": false})
	f.find(f.send(http.MethodPut, path, object{"autoReplyEnabled": true, "title": "Refund"}, 200), object{"autoReplyEnabled": true, "title": "Refund"})
	for _, list := range []string{"conversations/?inbox=" + f.inbox + "&keyword=Refund", "contacts/" + f.contact + "/conversations?keyword=polled"} {
		if got := idsOf(objects(f.get("/api/v1/"+list), "results")); !slices.Contains(got, f.conversation) {
			f.t.Errorf("%s: %s lists %v", f.name, list, got)
		}
	}
	f.find(f.get("/api/v1/contacts/"+f.contact+"/conversations/latest"), object{"id": f.conversation, "title": "Refund"})
}

func (f *vendorFlow) readRecords() {
	f.t.Helper()
	dates := "startDate=" + dayParameters["startDate"] + "&endDate=" + dayParameters["endDate"] + "&userMessage=" + strings.ReplaceAll(f.name, "#", "%23")
	if f.isSnake {
		dates = strings.NewReplacer("startDate", "start_date", "endDate", "end_date", "userMessage", "user_message").Replace(dates)
	}
	records := f.get("/api/v1/chatbots/parley/records/?page_size=10&" + dates)
	if number(records, "count") != 1 {
		f.t.Fatalf("%s: %d records match", f.name, number(records, "count"))
	}
	f.find(objects(records, "results")[0], object{"conversation": f.conversation, "inputMessage": question + " " + f.name, "status": "completed"})
	rows := f.exportRowsFrom("/api/v1/chatbots/parley/records/export-excel?" + dates)
	if len(rows) != 2 || !slices.Contains(rows[1], question+" "+f.name) {
		f.t.Errorf("%s: the export is %v", f.name, rows)
	}
}

func (f *vendorFlow) broadcast() {
	f.t.Helper()
	result := f.call(http.MethodPost, broadcast, object{"message": "Hello " + f.name, "contact_ids": []string{f.contact}}).wantStatus(200)
	sent := objects(result, "results")[0]
	f.find(sent, object{"contact_id": f.contact, "conversation_id": f.conversation, "status": "success"})
	f.find(f.get("/api/v1/messages/"+text(sent, "message_id")+"/"), object{"content": "Hello " + f.name, "type": "outgoing"})
}
