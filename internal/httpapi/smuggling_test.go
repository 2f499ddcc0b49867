package httpapi_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

// The operation that is authorized is the one that is executed. No header, spelling of a path or duplicate key in a
// body leads to another operation or another caller.
func TestAuthorizedRequestIsTheExecutedOne(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me, bob := o.as("me", auth.Chat), o.as("bob", auth.Chat)
	own, theirs := me.createResources(), bob.createResources()
	admin := o.as("admin", auth.Admin).key // the caller may use the operations that the manipulated requests aim at
	secret := "/api/api-keys/"
	for name, change := range map[string]option{
		"X-HTTP-Method-Override": withHeader("X-HTTP-Method-Override", "DELETE"), "X-HTTP-Method": withHeader("X-HTTP-Method", "DELETE"), "X-Method-Override": withHeader("X-Method-Override", "DELETE"),
		"X-Original-URL": withHeader("X-Original-URL", secret), "X-Rewrite-URL": withHeader("X-Rewrite-URL", secret), "X-Forwarded-Prefix": withHeader("X-Forwarded-Prefix", secret), "X-Forwarded-Uri": withHeader("X-Forwarded-Uri", secret),
		"a query": func(request *http.Request) { request.URL.RawQuery = "_method=DELETE&method=DELETE" },
		"Host":    func(request *http.Request) { request.Host = "evil.example" },
	} {
		shown := me.call(http.MethodGet, "/api/conversations/"+own["conversations"]+"/", nil, change).wantStatus(200)
		if shown["id"] != own["conversations"] {
			t.Errorf("%s: %v", name, shown)
		}
	}
	me.get("/api/conversations/" + own["conversations"] + "/")
	// A path reaches the operation that it spells, or none.
	for _, path := range []string{
		"/api/conversations/../api-keys/", "/api/conversations/%2e%2e/api-keys/", "/api/conversations/..%2fapi-keys/", "/api/chatbots/parley/../../api-keys/", "/api//api-keys/", "//api/api-keys/",
		"/api/api-keys%2f", "/api%2fapi-keys/", "/api/./api-keys/", "/api/api-keys/%00", "/api/api-keys;x/", "/API/API-KEYS/", "/api/api-keys/..;/", `/api\api-keys\`, "/api/me/%2e%2e/api-keys/", "/v1/../api/api-keys/",
	} {
		got := me.sendRaw(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key %s\r\nConnection: close\r\n\r\n", path, me.key))
		if got != 403 && got != 404 && got != 405 && got != 400 {
			t.Errorf("%s: %d", path, got)
		}
		if got := me.sendRaw(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key %s\r\nConnection: close\r\n\r\n", path, admin)); got == 200 {
			t.Errorf("%s reached an operation", path)
		}
	}
	// If a body has a duplicate key, the last one applies, both in validation and in execution.
	for body, want := range map[string]int{
		fmt.Sprintf(`{"conversation": %q, "conversation": %q, "content": "Hi"}`, own["conversations"], theirs["conversations"]):      403,
		fmt.Sprintf(`{"conversation": %q, "conversation": %q, "content": "Hi"}`, theirs["conversations"], own["conversations"]):      201,
		fmt.Sprintf(`{"conversation": %q, "Conversation": %q, "content": "Hi"}`, own["conversations"], theirs["conversations"]):      201,
		fmt.Sprintf(`{"conversation": %q, "conversatio\u006e": %q, "content": "Hi"}`, own["conversations"], theirs["conversations"]): 403,
		fmt.Sprintf(`{"conversation": %q, "content": "Hi", "type": "incoming", "type": "outgoing"}`, own["conversations"]):           403,
	} {
		if got := me.call(http.MethodPost, "/api/messages/", body); got.status != want {
			t.Errorf("%s: %d %s, want %d", body, got.status, got.body, want)
		}
	}
	for _, message := range bob.history(theirs["conversations"]) {
		if message["content"] == "Hi" {
			t.Errorf("the conversations are %v", message)
		}
	}
	// Two credentials in one request are rejected, because it is ambiguous which one applies.
	if got := me.sendRaw(fmt.Sprintf("GET /api/me/ HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key nobody.x\r\nAuthorization: Api-Key %s\r\nConnection: close\r\n\r\n", me.key)); got != 401 {
		t.Errorf("a second credential is accepted: %d", got)
	}
}

// A request with both Content-Length and chunks is refused or read by its chunks. The bytes that follow are a
// separate request without credentials.
func TestSmuggledRequestsHaveNoCredentials(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me := o.as("me", auth.Chat)
	conversation := me.startConversation()
	inner := "DELETE /api/conversations/" + conversation + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	head := "POST /api/conversations/start HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key " + me.key + "\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"a length and chunks":      head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n%s", 100+len(inner), inner),
		"two lengths":              head + fmt.Sprintf("Content-Length: 2\r\nContent-Length: %d\r\n\r\n{}%s", 2+len(inner), inner),
		"an odd encoding":          head + "Content-Length: 2\r\nTransfer-Encoding: xchunked\r\n\r\n{}" + inner,
		"a space before the colon": head + "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}" + inner,
		"a body for a GET":         "GET /api/me/ HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key " + me.key + "\r\n\r\n" + inner,
		"a folded line":            head + "X: a\r\n\tContent-Length: 0\r\nContent-Length: 2\r\n\r\n{}" + inner,
		"a bare line feed":         head + "X: a\nContent-Length: 0\r\nContent-Length: 2\r\n\r\n{}" + inner,
		"a trailer with a key":     head + "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Api-Key " + me.key + "\r\n\r\n" + inner,
	} {
		me.sendRaw(request)
		if got := me.call(http.MethodGet, "/api/conversations/"+conversation+"/", nil); got.status != 200 {
			t.Fatalf("%s: the conversation was deleted", name)
		}
	}
}

// sendRaw sends bytes until the server closes the connection, and returns the status of the last response, or 0 if there
// is none.
func (c caller) sendRaw(request string) (status int) {
	c.t.Helper()
	conn := must(new(net.Dialer).DialContext(c.t.Context(), "tcp", strings.TrimPrefix(c.url, "http://")))
	defer conn.Close()
	must(0, conn.SetDeadline(time.Now().Add(responseTimeout)))
	must(conn.Write([]byte(request)))
	for reader := bufio.NewReader(conn); ; {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return status
		}
		status = response.StatusCode
		_ = response.Body.Close()
	}
}

// The file name of an export is one header parameter for every name of a chatbot. A name cannot add a parameter, a
// header or a path.
func TestExportNamesCannotInjectHeaders(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	name := "Bot\u202e\"; filename=evil.exe\\../字"
	chatbot := admin.post("/api/chatbots/", object{"name": name})
	got := admin.call(http.MethodGet, "/api/chatbots/"+text(chatbot, "id")+"/records/export/?startDate="+dayParameters["startDate"]+"&endDate="+dayParameters["endDate"], nil)
	header := got.header.Get("Content-Disposition")
	if strings.Count(header, `"`) != 2 || strings.ContainsAny(header, "\\\r\n") || strings.Contains(header, "evil.exe\"") || !strings.Contains(header, "%E5%AD%97") {
		t.Errorf("the header is %s", header)
	}
}
