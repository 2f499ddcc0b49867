package conformance

import (
	"net/http"
	"strings"
)

func keyChecks() []check {
	return []check{
		{name: "keys/schemes", holds: "A key is taken after Api-Key and after Bearer, in any case.", ask: schemesAreTaken},
		{name: "keys/refused", holds: "Without a key, and with one that is not valid, the answer is 401 with WWW-Authenticate.", ask: noKeyIsRefused},
		{name: "keys/me", holds: "A key is told whose it is, what it may, and the rate limits as they stand.", ask: meIsTold},
		{name: "keys/scopes", holds: "A key may what its scopes say, and is refused all else with 403.", needs: "admin", ask: scopesAreKept},
		{name: "keys/secret", holds: "A key's secret is shown when it is made and never again.", needs: "admin", ask: secretIsShownOnce},
		{name: "keys/revoked", holds: "A key that is revoked is refused.", needs: "admin", ask: revokedKeyIsRefused},
		{name: "keys/client-token", holds: "A client token opens what it is for and nothing else.", ask: clientTokenIsBound},
	}
}

func schemesAreTaken(t *trial) {
	for _, scheme := range []string{"Api-Key", "Bearer", "api-key", "BEARER"} {
		got := t.nobody().get("/api/me/", header("Authorization", scheme+" "+t.config.Key))
		t.must(got.status == http.StatusOK, "a key after %s is answered with %d", scheme, got.status)
	}
}

func noKeyIsRefused(t *trial) {
	for _, options := range [][]option{nil, {header("Authorization", "Bearer pk_nobody.has-this-key-at-all")}, {header("Authorization", "Basic dXNlcjpwYXNzd29yZA==")}} {
		got := t.nobody().get("/api/me/", options...)
		got.refused(http.StatusUnauthorized, "unauthorized")
		t.must(got.header.Get("WWW-Authenticate") != "", "a 401 has no WWW-Authenticate")
	}
}

func meIsTold(t *trial) {
	me := t.user().get("/api/me/").gives(http.StatusOK)
	t.must(me.obj("user").str("name") != "" && me.obj("organization").str("name") != "", "/api/me/ tells %v", me)
	classes := map[string]bool{}
	for _, one := range me.list("rateLimits") {
		classes[one.str("class")] = true
	}
	t.must(classes["messages"] && classes["history"] && classes["list"], "the rate limits are %v", me["rateLimits"])
}

func scopesAreKept(t *trial) {
	reader := caller{t, t.newKey(t.slug+"-scopes", "records:read")}
	reader.get("/api/chatbots/" + t.bot + "/statistics/?startDate=2026-01-01&endDate=2026-01-01").gives(http.StatusOK)
	reader.post("/api/conversations/start", object{}).refused(http.StatusForbidden, "forbidden")
	for _, path := range []string{"/api/chatbots/", "/api/api-keys/", "/api/contacts/", "/api/conversations", "/api/messages/"} {
		reader.get(path).refused(http.StatusForbidden, "forbidden")
	}
	t.user().get("/api/chatbots/"+t.bot+"/statistics/?startDate=2026-01-01&endDate=2026-01-01").refused(http.StatusForbidden, "forbidden")
}

func secretIsShownOnce(t *trial) {
	key := t.newKey(t.slug+"-scopes", "chat")
	prefix, secret, _ := strings.Cut(key, ".")
	t.must(len(secret) >= 16, "the key's secret has %d characters", len(secret))
	list := t.owner().get("/api/api-keys/?pageSize=100")
	list.gives(http.StatusOK)
	t.must(strings.Contains(string(list.body), prefix), "the key is not listed")
	t.must(!strings.Contains(string(list.body), secret), "the list of keys shows a secret")
}

func revokedKeyIsRefused(t *trial) {
	made := t.owner().post("/api/api-keys/", object{"name": "parley conformance " + t.run, "user": t.slug + "-scopes"}).gives(http.StatusCreated)
	path := "/api/api-keys/" + made.str("id") + "/"
	t.made("the API key "+made.str("prefix"), path)
	revoked := caller{t, made.str("key")}
	revoked.get("/api/me/").gives(http.StatusOK)
	t.owner().call(http.MethodDelete, path, nil).gives(http.StatusNoContent)
	t.eventually("the key is refused", func() bool { return revoked.get("/api/me/").status == http.StatusUnauthorized })
}

func clientTokenIsBound(t *trial) {
	user := t.user()
	mine, other := user.quiet(), user.quiet()
	made := user.post("/api/client-tokens/", object{"conversation": mine, "expiresIn": 60}).gives(http.StatusCreated)
	browser := caller{t, made.str("token")}
	bearer := header("Authorization", "Bearer "+made.str("token"))
	browser.get("/api/conversations/"+mine+"/history", bearer).gives(http.StatusOK)
	browser.get("/api/conversations/"+other+"/history", bearer).refused(http.StatusForbidden, "forbidden")
	browser.get("/api/me/", bearer).refused(http.StatusForbidden, "forbidden")
	browser.post("/api/client-tokens/", object{"conversation": mine}, bearer).refused(http.StatusForbidden, "forbidden")
}
