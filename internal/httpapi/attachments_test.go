package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/auth"
)

// Attachments of all five types are sent by URL, with defaults for omitted fields. Later messages
// may refer to them by ID.
func TestAttachmentsAreSentByURLAndReusedByID(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	path := "/api/conversations/" + id + "/messages"
	for _, c := range []struct{ given, want object }{
		{object{"type": "image", "filename": "a.png", "file": "https://x.example/1"}, object{"type": "image", "filename": "a.png", "file": "https://x.example/1"}},
		{object{"type": "video", "file": "http://x.example/a/b.mp4?c=d/e#f"}, object{"type": "video", "filename": "b.mp4", "file": "http://x.example/a/b.mp4?c=d/e#f"}},
		{object{"type": "audio", "file": "HTTPS://X.example/%E5%AD%97.mp3"}, object{"type": "audio", "filename": "字.mp3", "file": "HTTPS://X.example/%E5%AD%97.mp3"}},
		{object{"type": "sticker", "file": "https://x.example/", "filename": ""}, object{"type": "sticker", "filename": "", "file": "https://x.example/"}},
		{object{"type": "other", "file": "https://x.example"}, object{"type": "other", "filename": "", "file": "https://x.example"}},
		{object{"file": "https://x.example:8443/z.pdf"}, object{"type": "other", "filename": "z.pdf", "file": "https://x.example:8443/z.pdf"}},
		{object{"id": uuid.NewString(), "file": "https://x.example/unknown-id.txt"}, object{"type": "other", "filename": "unknown-id.txt", "file": "https://x.example/unknown-id.txt"}},
		{object{"id": "not an id", "file": "https://x.example/bad-id.txt"}, object{"type": "other", "filename": "bad-id.txt", "file": "https://x.example/bad-id.txt"}},
	} {
		sent := alice.post(path, object{"content": "", "attachments": []object{c.given}})
		shown := objects(alice.get("/api/messages/"+text(sent, "message_id")+"/"), "attachments")[0]
		for field, want := range c.want {
			if shown[field] != want {
				t.Errorf("%v: %s is %v, want %v", c.given, field, shown[field], want)
			}
		}
		if shown["id"] == c.given["id"] || len(shown) != 4 {
			t.Errorf("%v is returned as %v", c.given, shown)
		}
		// A reference by ID returns the stored attachment in every family and ignores the other fields.
		for _, reference := range []string{text(shown, "id"), strings.ToUpper(text(shown, "id"))} {
			again := alice.post("/api/messages/", object{"conversation": id, "attachments": []object{{"id": reference, "type": "image", "filename": "other", "file": "https://other.example/"}}})
			if got := objects(again, "attachments")[0]; !equalJSON(got, shown) {
				t.Errorf("the attachment sent by ID is %v, want %v", got, shown)
			}
		}
		asked := alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"message": object{"content": "", "attachments": []object{{"id": shown["id"]}}}}).wantStatus(200)
		if got := objects(alice.history(text(asked, "conversationId"))[0], "attachments")[0]; !equalJSON(got, shown) {
			t.Errorf("the attachment of the completion is %v, want %v", got, shown)
		}
	}
	if n := query[int](alice.server, "SELECT count(*) FROM attachments"); n != 8 {
		t.Errorf("%d attachments are stored, want 8", n)
	}
}

// Attachments keep their order. One may occur twice, also with its ID in another letter case.
func TestAttachmentsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	first := alice.post("/api/messages/", object{"conversation": id, "attachments": []object{{"file": "https://x.example/1"}, {"file": "https://x.example/2"}}})
	attachment1, attachment2 := objects(first, "attachments")[0], objects(first, "attachments")[1]
	again := alice.post("/api/messages/", object{"conversation": id, "attachments": []object{
		{"id": attachment2["id"]}, {"file": "https://x.example/3"}, {"id": attachment1["id"]}, {"id": strings.ToUpper(text(attachment2, "id"))}, {"file": "https://x.example/3"},
	}})
	got := objects(again, "attachments")
	if got[0]["id"] != attachment2["id"] || got[1]["filename"] != "3" || got[2]["id"] != attachment1["id"] || got[3]["id"] != attachment2["id"] || got[4]["id"] == got[1]["id"] {
		t.Errorf("the attachments are %v", got)
	}
}

// An attachment with neither a known ID nor a valid http or https URL is rejected with a pointer to
// it, and nothing is stored.
func TestInvalidAttachmentsAreRejected(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	valid := object{"file": "https://x.example/1"}
	for _, c := range []struct {
		attachment object
		pointer    string
	}{
		{object{}, ""},
		{object{"id": "", "file": ""}, ""},
		{object{"type": "image", "filename": "a.png"}, ""},
		{object{"id": uuid.NewString()}, "/id"},
		{object{"id": "x"}, "/id"},
		{object{"file": "ftp://x.example/a"}, "/file"},
		{object{"file": "file:///etc/passwd"}, "/file"},
		{object{"file": "javascript:alert(1)"}, "/file"},
		{object{"file": "data:text/plain,x"}, "/file"},
		{object{"file": "//x.example/a"}, "/file"},
		{object{"file": "x.example/a"}, "/file"},
		{object{"file": "https://"}, "/file"},
		{object{"file": "https:///a"}, "/file"},
		{object{"file": "https:x.example"}, "/file"},
		{object{"file": "https://x.example/\n"}, "/file"},
		{object{"file": "https://:80/"}, "/file"},
		{object{"file": "https://[::1/"}, "/file"},
		{object{"file": "https://x.example/" + strings.Repeat("x", 2048)}, "/file"},
		{object{"file": "https://x.example/1", "type": "document"}, "/type"},
		{object{"file": "https://x.example/1", "filename": strings.Repeat("x", 256)}, "/filename"},
	} {
		list := []object{valid, c.attachment}
		for prefix, got := range map[string]answer{
			"":         alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": "Hi", "attachments": list}),
			" ":        alice.call(http.MethodPost, "/api/messages/", object{"conversation": id, "attachments": list}),
			"/message": alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"message": object{"content": "Hi", "attachments": list}}),
		} {
			if err := got.checkProblem(400, "invalid_message", strings.TrimSpace(prefix)+"/attachments/1"+c.pointer); err != nil {
				t.Errorf("%v: %v", c.attachment, err)
			}
		}
	}
	if n := query[int](alice.server, "SELECT (SELECT count(*) FROM message_history) + (SELECT count(*) FROM attachments)"); n != 0 {
		t.Errorf("%d rows are stored", n)
	}
}
