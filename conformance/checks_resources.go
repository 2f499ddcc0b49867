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
		{name: "resources/chatbots", holds: "A chatbot is made, named by its slug, changed and deleted; a slug that is taken is 409.", needs: "manage", ask: chatbotsAreManaged},
		{name: "resources/web-chats", holds: "A web chat is made with an inbox, and a conversation begins through it.", needs: "manage", ask: webChatsAreManaged},
		{name: "resources/contacts", holds: "A contact is made, found, and deleted with its conversations; a sourceId that is taken is 409.", needs: "manage", ask: contactsAreManaged},
		{name: "resources/upload", holds: "FAQs are imported from a file of several megabytes, and the chatbot answers from them.", needs: "manage", ask: uploadIsTaken},
	}
}

func chatbotsAreManaged(t *trial) {
	owner := t.owner()
	id := t.newBot("managed")
	slug := "conformance-" + t.run + "-managed"
	t.must(owner.get("/api/chatbots/"+slug+"/").gives(http.StatusOK).str("id") == id, "the chatbot is another one by its slug")
	owner.post("/api/chatbots/", object{"name": "x", "slug": slug}).refused(http.StatusConflict, "conflict")
	owner.post("/api/chatbots/", object{"name": " "}).refused(http.StatusBadRequest, "invalid_request")
	changed := owner.call(http.MethodPatch, "/api/chatbots/"+slug+"/", object{"greeting": "早安"}).gives(http.StatusOK)
	t.must(changed.str("greeting") == "早安" && changed.str("slug") == slug, "it is changed to %v", changed)
	owner.call(http.MethodDelete, "/api/chatbots/"+id+"/", nil).gives(http.StatusNoContent)
	owner.get("/api/chatbots/"+id+"/").refused(http.StatusNotFound, "not_found")
}

func webChatsAreManaged(t *trial) {
	owner, user := t.owner(), t.user()
	made := owner.post("/api/web-chats/", object{"name": "conformance " + t.run, "chatbot": t.bot}).gives(http.StatusCreated)
	path := "/api/web-chats/" + made.str("id") + "/"
	t.made("the web chat "+made.str("name"), path)
	conversation := user.post("/api/conversations/", object{"webChat": made.str("id")}).gives(http.StatusCreated)
	t.must(conversation.obj("inbox").str("id") == made.str("inbox") && conversation.obj("inbox").str("channelType") == "web", "the conversation is in the inbox %v, the web chat has %v", conversation["inbox"], made["inbox"])
	listed := user.get("/api/conversations/?inbox=" + made.str("inbox")).gives(http.StatusOK).list("results")
	t.must(len(listed) == 1 && listed[0].str("id") == conversation.str("id"), "the inbox has %d conversations", len(listed))
	owner.call(http.MethodDelete, path, nil).gives(http.StatusNoContent)
	owner.get(path).refused(http.StatusNotFound, "not_found")
}

func contactsAreManaged(t *trial) {
	owner, user := t.owner(), t.user()
	source := "conformance-" + t.run
	made := owner.post("/api/contacts/", object{"name": "Conformance 聯絡人", "sourceId": source, "queryMetadata": object{"snake_case": 1}}).gives(http.StatusCreated)
	path := "/api/contacts/" + made.str("id") + "/"
	t.made("the contact "+source, path)
	t.must(made.obj("queryMetadata").num("snake_case") == 1, "its queryMetadata are %v", made["queryMetadata"])
	owner.post("/api/contacts/", object{"name": "x", "sourceId": source}).refused(http.StatusConflict, "conflict")
	found := owner.get("/api/contacts/?query=" + source).gives(http.StatusOK)
	t.must(found.num("count") == 1 && len(found.list("results")) == 1, "%d contacts are found by the sourceId", found.num("count"))
	webChat := owner.post("/api/web-chats/", object{"name": "conformance " + t.run, "chatbot": t.bot}).gives(http.StatusCreated)
	t.made("the web chat "+webChat.str("name"), "/api/web-chats/"+webChat.str("id")+"/")
	conversation := user.post("/api/conversations/", object{"webChat": webChat.str("id"), "contact": made.str("id")}).gives(http.StatusCreated)
	t.must(conversation.obj("contact").str("id") == made.str("id"), "the conversation is with %v", conversation["contact"])
	owner.call(http.MethodDelete, path, nil).gives(http.StatusNoContent)
	user.get("/api/conversations/"+conversation.str("id")+"/").refused(http.StatusNotFound, "not_found")
}

// uploadIsTaken imports a file whose most is a column that is ignored.
func uploadIsTaken(t *trial) {
	owner := t.owner()
	slug := "conformance-" + t.run + "-faqs"
	bot := owner.post("/api/chatbots/", object{"name": "parley conformance " + t.run, "slug": slug}).gives(http.StatusCreated).str("id")
	t.made("the chatbot "+slug, "/api/chatbots/"+bot+"/")
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
	t.must(err == nil && writer.Close() == nil, "the form cannot be written: %v", err)
	got := owner.post("/api/chatbots/"+bot+"/faqs/import/", form.String(), header("Content-Type", writer.FormDataContentType()))
	t.must(got.status == http.StatusOK, "an upload of %d bytes is answered with %d, where 32 MiB are allowed: %s", form.Len(), got.status, got.excerpt())
	t.must(got.json().num("created") == 3, "of 3 FAQs are imported: %s", got.excerpt())
	answer := t.user().post("/api/chatbots/"+bot+"/completions/", question("Where is conformance shelf 2?", "", false)).gives(http.StatusOK)
	t.must(answer.str("content") == "On floor 2." && len(answer.list("citations")) > 0, "the chatbot answers %q", answer.str("content"))
}
