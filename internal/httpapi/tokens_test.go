package httpapi_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

// A client token expires after its lifetime, by default 15 minutes, and no later than the key that made it.
func TestClientTokensExpire(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me := o.as("me", auth.Chat)
	id := me.startConversation()
	until := func(c caller, body object) time.Time {
		t.Helper()
		return must(time.Parse(time.RFC3339Nano, text(c.post("/api/client-tokens/", body), "expiresAt")))
	}
	for seconds, body := range map[float64]object{900: {"conversation": id}, 3600: {"conversation": id, "expiresIn": 3600}, 1: {"conversation": id, "expiresIn": 1}} {
		if left := time.Until(until(me, body)).Seconds(); left > seconds || left < seconds-10 {
			t.Errorf("%v: the token expires in %v seconds", body, left)
		}
	}
	end := time.Now().Add(time.Minute).UTC().Truncate(time.Microsecond)
	o.exec("UPDATE api_keys SET expires_at = $1 WHERE prefix = $2", end, strings.Split(me.key, ".")[0])
	eventually(t, "the key's new expiry is committed", func() bool { return until(me, object{"conversation": id}).Equal(end) })

	brief := me.token(object{"conversation": id, "expiresIn": 1})
	path := "/api/conversations/" + id + "/history"
	me.call(http.MethodGet, path, nil, bearer(brief)).wantStatus(200)
	eventually(t, "the token expires", func() bool { return me.call(http.MethodGet, path, nil, bearer(brief)).status != 200 })
	me.call(http.MethodGet, path, nil, bearer(brief)).wantProblem(401, "unauthorized", "")
}

// A client token becomes invalid when the key that made it is revoked or expires. Tokens cannot be forged or
// modified.
func TestClientTokensEndWithTheirKey(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	admin, revoked, expired := o.as("admin", auth.Admin), o.as("revoked", auth.Chat), o.as("expired", auth.Chat)
	for _, c := range []caller{revoked, expired} {
		id := c.startConversation()
		path := "/api/conversations/" + id + "/history"
		token := c.token(object{"conversation": id})
		c.call(http.MethodGet, path, nil, bearer(token)).wantStatus(200)
		c.call(http.MethodGet, path, nil, withHeader("Authorization", "bEARER  "+token+" ")).wantStatus(200)
		raw := must(base64.RawURLEncoding.DecodeString(token[len("pct_"):]))
		for i := range raw {
			changed := slices.Clone(raw)
			changed[i] ^= 1
			if got := c.call(http.MethodGet, path, nil, bearer("pct_"+base64.RawURLEncoding.EncodeToString(changed))); got.status != 401 {
				t.Errorf("with byte %d changed: %d", i, got.status)
			}
		}
		foreign := serve(t).organization().as("me", auth.Chat).token(object{"chatbot": "parley"})
		for _, wrong := range []string{"Bearer " + foreign, "Api-Key " + token, "Bearer pct_", "Bearer pct_x", "Bearer " + token[:40], "Bearer " + token + "A", "Bearer " + token + "." + token, "Basic " + token} {
			c.call(http.MethodGet, path, nil, withHeader("Authorization", wrong)).wantProblem(401, "unauthorized", "")
		}
		if c.user == "revoked" {
			admin.remove("/api/api-keys/" + query[string](s, "SELECT id::text FROM api_keys WHERE name = $1", "revoked's key") + "/")
		} else {
			o.exec("UPDATE api_keys SET expires_at = clock_timestamp() WHERE name = $1", "expired's key")
		}
		if c.user == "expired" { // the server cannot detect this
			eventually(t, "the token becomes invalid with its key", func() bool { return c.call(http.MethodGet, path, nil, bearer(token)).status != 200 })
		}
		if err := c.call(http.MethodGet, path, nil, bearer(token)).checkProblem(401, "unauthorized", ""); err != nil {
			t.Errorf("%s: %v", c.user, err)
		}
	}
}

// A token that is bound to an origin is accepted only from pages of that origin, for REST and sockets.
func TestClientTokensAreBoundToTheirOrigin(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{origins: []string{"*"}}).organization()
	me := o.as("me", auth.Chat)
	id := me.startConversation()
	bound := me.token(object{"conversation": id, "origin": "https://Shop.example"})
	free := me.token(object{"conversation": id})
	for origin, isTaken := range map[string]bool{
		"https://shop.example": true, "https://SHOP.example": true,
		"": false, "null": false, "http://shop.example": false, "https://shop.example:8443": false, "https://shop.example.evil": false, "https://evil.example": false,
	} {
		for token, want := range map[string]bool{bound: isTaken, free: true} {
			options := []option{bearer(token)}
			if origin != "" {
				options = append(options, withHeader("Origin", origin))
			}
			got := o.call(http.MethodGet, "/api/conversations/"+id+"/history", nil, options...)
			socket := o.call(http.MethodGet, "/ws?session_id="+id, nil, append(options, upgrade)...)
			if want {
				if got.status != 200 || socket.status != http.StatusSwitchingProtocols {
					t.Errorf("from the origin %q: %d, socket %d", origin, got.status, socket.status)
				}
				continue
			}
			got.wantProblem(403, "forbidden", "")
			socket.wantProblem(403, "forbidden", "")
		}
	}
}

// A client token cannot send as another contact, and cannot attach files by their ID.
func TestClientTokensActForTheirContactOnly(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me := o.as("me", auth.Chat)
	all, other := me.tokenTarget("", ""), me.tokenTarget("", "")
	for _, body := range []object{{"conversation": all["conversations"]}, {"contact": all["contacts"]}} {
		token := me.token(body)
		ask := func(message object) answer {
			return me.call(http.MethodPost, "/api/chatbots/"+all["chatbots"]+"/completions/", object{"conversation": all["conversations"], "message": message}, bearer(token))
		}
		ask(object{"content": "Hi", "sender": all["contacts"]}).wantStatus(200)
		ask(object{"content": "Hi", "sender": other["contacts"]}).wantProblem(403, "forbidden", "")
		ask(object{"content": "Hi", "sender": unknownIDs()["contacts"]}).wantProblem(400, "invalid_request", "/message/sender")
		ask(object{"content": "Hi", "attachments": []object{{"id": other["attachments"]}}}).wantProblem(400, "invalid_message", "/message/attachments/0/id")
		ask(object{"content": "Hi", "attachments": []object{{"file": "https://files.example.com/a.png"}}}).wantStatus(200)
	}
}

// After its contact is deleted, a client token gives no access, and does not create another contact.
func TestClientTokensEndWithTheirContact(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me, admin := o.as("me", auth.Chat), o.as("admin", auth.Admin)
	ids := me.tokenTarget("", "")
	token := me.token(object{"contact": ids["contacts"]})
	admin.remove("/api/contacts/" + ids["contacts"] + "/")
	me.call(http.MethodGet, "/api/conversations/"+ids["conversations"]+"/history", nil, bearer(token)).wantProblem(404, "not_found", "")
	me.call(http.MethodPost, "/api/conversations/start", object{}, bearer(token)).wantProblem(403, "forbidden", "")
	me.call(http.MethodPost, "/api/conversations/", object{"webChat": ids["web-chats"]}, bearer(token)).wantProblem(403, "forbidden", "")
}
