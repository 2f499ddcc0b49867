package conformance

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
)

func resourceChecks() []check {
	return []check{
		withScope("manage", "resources/chatbots", "A chatbot can be created, addressed by its slug, changed and deleted; a duplicate slug is 409.", checkChatbots),
		withScope("manage", "resources/web-chats", "A web chat is created with an inbox, and conversations start through it.", checkWebChats),
		withScope("manage", "resources/contacts", "A contact can be created, found, and deleted with its conversations; a duplicate sourceId is 409.", checkContacts),
		withScope("manage", "resources/upload", "FAQs can be imported from a file of several megabytes, and the chatbot answers from them.", checkUpload),
	}
}

func checkChatbots(t *checker) {
	owner := t.owner()
	id := t.createBot("managed")
	slug := "conformance-" + t.runID + "-managed"
	t.require(owner.getJSON("/api/chatbots/"+slug+"/").str("id") == id, "the slug addresses another chatbot")
	owner.post("/api/chatbots/", object{"name": "x", "slug": slug}).expectProblem("conflict")
	owner.post("/api/chatbots/", object{"name": " "}).expectProblem("invalid_request")
	changed := owner.patch("/api/chatbots/"+slug+"/", object{"greeting": "早安"}).json(http.StatusOK)
	t.require(changed.str("greeting") == "早安" && changed.str("slug") == slug, "the changed chatbot is %v", changed)
	owner.remove("/api/chatbots/" + id + "/")
	owner.get("/api/chatbots/" + id + "/").expectProblem("not_found")
}

func checkWebChats(t *checker) {
	owner := t.owner()
	webChat := t.createWebChat()
	path := "/api/web-chats/" + webChat.str("id") + "/"
	conversation := t.user.create("/api/conversations/", object{"webChat": webChat.str("id")})
	t.require(conversation.obj("inbox").str("id") == webChat.str("inbox") && conversation.obj("inbox").str("channelType") == "web", "the conversation has the inbox %v, the web chat %v", conversation["inbox"], webChat["inbox"])
	listed := t.user.getJSON("/api/conversations/?inbox=" + webChat.str("inbox")).list("results")
	t.require(len(listed) == 1 && listed[0].str("id") == conversation.str("id"), "the inbox has %d conversations, want the one that was started", len(listed))
	owner.remove(path)
	owner.get(path).expectProblem("not_found")
}

func checkContacts(t *checker) {
	owner := t.owner()
	source := "conformance-" + t.runID
	contact := owner.create("/api/contacts/", object{"name": "Conformance 聯絡人", "sourceId": source, "queryMetadata": object{"snake_case": 1}})
	path := "/api/contacts/" + contact.str("id") + "/"
	t.deleteLater("the contact "+source, path)
	t.require(contact.obj("queryMetadata").num("snake_case") == 1, "queryMetadata is %v", contact["queryMetadata"])
	owner.post("/api/contacts/", object{"name": "x", "sourceId": source}).expectProblem("conflict")
	found := owner.getJSON("/api/contacts/?query=" + source)
	t.require(found.num("count") == 1 && len(found.list("results")) == 1, "the sourceId finds %d contacts, want 1", found.num("count"))
	conversation := t.user.create("/api/conversations/", object{"webChat": t.createWebChat().str("id"), "contact": contact.str("id")})
	t.require(conversation.obj("contact").str("id") == contact.str("id"), "the conversation has the contact %v", conversation["contact"])
	owner.remove(path)
	t.user.get("/api/conversations/" + conversation.str("id") + "/").expectProblem("not_found")
}

// checkUpload imports a file that an ignored column makes large.
func checkUpload(t *checker) {
	owner := t.owner()
	slug := "conformance-" + t.runID + "-faqs"
	bot := owner.create("/api/chatbots/", object{"name": "parley conformance " + t.runID, "slug": slug}).str("id")
	t.deleteLater("the chatbot "+slug, "/api/chatbots/"+bot+"/")
	var table strings.Builder
	table.WriteString("question,answer,remark\n")
	for i := range 3 {
		fmt.Fprintf(&table, "Where is conformance shelf %d?,On floor %d.,%s\n", i+1, i+1, strings.Repeat("r", mebibyte))
	}
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	part, err := writer.CreateFormFile("file", "faqs.csv")
	if err == nil {
		_, err = part.Write([]byte(table.String()))
	}
	t.require(err == nil && writer.Close() == nil, "encode the form: %v", err)
	got := owner.post("/api/chatbots/"+bot+"/faqs/import/", form.String(), header("Content-Type", writer.FormDataContentType()))
	t.require(got.status == http.StatusOK, "an upload of %d bytes: status %d, but 32 MiB are allowed: %s", form.Len(), got.status, got.excerpt())
	t.require(got.object().num("created") == 3, "not all 3 FAQs were imported: %s", got.excerpt())
	answer := t.user.post("/api/chatbots/"+bot+"/completions/", question("Where is conformance shelf 2?", "", false)).json(http.StatusOK)
	t.require(answer.str("content") == "On floor 2." && len(answer.list("citations")) > 0, "the chatbot replies %q", answer.str("content"))
}
