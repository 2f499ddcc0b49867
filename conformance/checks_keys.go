package conformance

import (
	"net/http"
	"strings"
)

func keyChecks() []check {
	return []check{
		forAnyKey("keys/schemes", "A key is accepted with the schemes Api-Key and Bearer, in any case.", checkSchemes),
		forAnyKey("keys/unauthorized", "Without a key, or with an invalid one, the status is 401 with WWW-Authenticate.", checkUnauthorized),
		forAnyKey("keys/me", "/api/me/ returns the key's user, organization, scopes and rate limits.", checkMe),
		withScope("admin", "keys/scopes", "A key can do what its scopes allow; anything else is 403.", checkScopes),
		withScope("admin", "keys/secret", "A key's secret is returned when it is created and never again.", checkSecretIsShownOnce),
		withScope("admin", "keys/revoked", "A revoked key is rejected.", checkRevokedKey),
		named("keys/client-token", "A client token gives access to its conversation and nothing else.", checkClientToken),
	}
}

func checkSchemes(t *checker) {
	for _, scheme := range []string{"Api-Key", "Bearer", "api-key", "BEARER"} {
		got := t.anonymous().get("/api/me/", header("Authorization", scheme+" "+t.config.Key))
		t.require(got.status == http.StatusOK, "a key with the scheme %s: status %d, want 200", scheme, got.status)
	}
}

func checkUnauthorized(t *checker) {
	for _, options := range [][]option{nil, {header("Authorization", "Bearer pk_nobody.has-this-key-at-all")}, {header("Authorization", "Basic dXNlcjpwYXNzd29yZA==")}} {
		got := t.anonymous().get("/api/me/", options...)
		got.expectProblem("unauthorized")
		t.require(got.header.Get("WWW-Authenticate") != "", "a 401 has no WWW-Authenticate")
	}
}

func checkMe(t *checker) {
	me := t.user.getJSON("/api/me/")
	t.require(me.obj("user").str("name") != "" && me.obj("organization").str("name") != "", "/api/me/ returns %v", me)
	classes := map[string]bool{}
	for _, limit := range me.list("rateLimits") {
		classes[limit.str("class")] = true
	}
	t.require(classes["messages"] && classes["history"] && classes["list"], "the rate limits are %v", me["rateLimits"])
}

func checkScopes(t *checker) {
	reader := client{t, t.createKey(t.slug+"-scopes", "records:read")}
	reader.getJSON("/api/chatbots/" + t.bot + "/statistics/?startDate=2026-01-01&endDate=2026-01-01")
	reader.post("/api/conversations/start", object{}).expectProblem("forbidden")
	for _, path := range []string{"/api/chatbots/", "/api/api-keys/", "/api/contacts/", "/api/conversations", "/api/messages/"} {
		reader.get(path).expectProblem("forbidden")
	}
	t.user.get("/api/chatbots/" + t.bot + "/statistics/?startDate=2026-01-01&endDate=2026-01-01").expectProblem("forbidden")
}

func checkSecretIsShownOnce(t *checker) {
	key := t.createKey(t.slug+"-scopes", "chat")
	prefix, secret, _ := strings.Cut(key, ".")
	t.require(len(secret) >= 16, "the key's secret has %d characters, want at least 16", len(secret))
	list := t.owner().get("/api/api-keys/?pageSize=100")
	list.json(http.StatusOK)
	t.require(strings.Contains(string(list.body), prefix), "the key is not listed")
	t.require(!strings.Contains(string(list.body), secret), "the list of keys contains the secret")
}

func checkRevokedKey(t *checker) {
	key := t.owner().create("/api/api-keys/", object{"name": "parley conformance " + t.runID, "user": t.slug + "-scopes"})
	path := "/api/api-keys/" + key.str("id") + "/"
	t.deleteLater("the API key "+key.str("prefix"), path)
	revoked := client{t, key.str("key")}
	revoked.getJSON("/api/me/")
	t.owner().remove(path)
	t.eventually("the revoked key is rejected", func() bool { return revoked.get("/api/me/").status == http.StatusUnauthorized })
}

func checkClientToken(t *checker) {
	mine, other := t.user.startWithoutBot(), t.user.startWithoutBot()
	token := t.user.create("/api/client-tokens/", object{"conversation": mine, "expiresIn": 60})
	browser := client{t, token.str("token")}
	bearer := header("Authorization", "Bearer "+token.str("token"))
	browser.getJSON("/api/conversations/"+mine+"/history", bearer)
	browser.get("/api/conversations/"+other+"/history", bearer).expectProblem("forbidden")
	browser.get("/api/me/", bearer).expectProblem("forbidden")
	browser.post("/api/client-tokens/", object{"conversation": mine}, bearer).expectProblem("forbidden")
}
