package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

// The secret of an API key is returned once, on creation, and is never stored. The key is valid immediately and has
// exactly the requested user and scopes.
func TestAPIKeySecretIsReturnedOnlyOnCreation(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	made := admin.post("/api/api-keys/", object{"name": "Portal", "user": "portal", "scopes": []string{"agent", "chat", "agent"}, "expiresAt": expires.In(time.FixedZone("", 3600)).Format(time.RFC3339Nano)})
	want := []string{"createdAt", "expiresAt", "id", "key", "lastUsedAt", "name", "prefix", "rateLimits", "scopes", "user"}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	prefix, secret, _ := strings.Cut(text(made, "key"), ".")
	if made["prefix"] != prefix || made["user"] != "portal" || made["expiresAt"] != expires.Format(sixDigits) || made["lastUsedAt"] != nil || !equalJSON(made["scopes"], []any{"agent", "chat"}) {
		t.Errorf("the created key is %v", made)
	}
	portal := caller{organization: o, user: "portal", key: text(made, "key")}
	me := portal.get("/api/me/")
	if me["user"].(object)["name"] != "portal" || me["organization"].(object)["id"] != o.id.String() || me["organization"].(object)["name"] != o.name || !equalJSON(me["scopes"], []any{"agent", "chat"}) {
		t.Errorf("getMe returned %v", me)
	}
	list := admin.call(http.MethodGet, "/api/api-keys/", nil)
	listed := objects(list.wantStatus(200), "results")
	if strings.Contains(string(list.body), secret) || listed[0]["id"] != made["id"] || listed[0]["lastUsedAt"] == nil {
		t.Errorf("the list of keys is %s", list.body)
	}
	if n := query[int](o.server, "SELECT count(*) FROM api_keys k WHERE k::text LIKE '%' || $1 || '%'", secret); n != 0 {
		t.Error("the database contains the secret")
	}
	// Defaults: the caller's own user, the scope chat, no expiry.
	plain := admin.post("/api/api-keys/", object{"name": "Plain", "expiresAt": nil})
	if plain["user"] != "admin" || plain["expiresAt"] != nil || !equalJSON(plain["scopes"], []any{"chat"}) {
		t.Errorf("the key with defaults is %v", plain)
	}
	for _, blank := range []string{"", " ", "\u3000"} {
		admin.call(http.MethodPost, "/api/api-keys/", object{"name": "X", "user": blank}).wantProblem(400, "invalid_request", "/user")
	}
	// A second key for the same user name belongs to the same user.
	again := admin.post("/api/api-keys/", object{"name": "Second", "user": " portal "})
	second := caller{organization: o, key: text(again, "key")}
	if second.get("/api/me/")["user"].(object)["id"] != me["user"].(object)["id"] {
		t.Errorf("the key %v belongs to another user than %v", again, me)
	}
}

// expiresAt must be a valid time in the future, and a key is rejected after it.
func TestAPIKeyExpiryMustBeInTheFuture(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	for _, bad := range []any{"2020-01-01T00:00:00Z", time.Now().Add(-time.Second).Format(time.RFC3339Nano), "tomorrow", "2030-02-30T00:00:00Z", "9999-12-31T23:59:59-12:00", 7} {
		if err := admin.call(http.MethodPost, "/api/api-keys/", object{"name": "X", "expiresAt": bad}).checkProblem(400, "invalid_request", "/expiresAt"); err != nil {
			t.Errorf("expiresAt %v: %v", bad, err)
		}
	}
	made := admin.post("/api/api-keys/", object{"name": "X", "expiresAt": "9999-12-31T23:59:59.999999Z"})
	if made["expiresAt"] != "9999-12-31T23:59:59.999999Z" {
		t.Errorf("the created key is %v", made)
	}
	expiring := caller{organization: o, key: text(admin.post("/api/api-keys/", object{"name": "X", "expiresAt": time.Now().Add(time.Hour).Format(time.RFC3339Nano)}), "key")}
	expiring.get("/api/me/")
	o.exec("UPDATE api_keys SET expires_at = clock_timestamp() WHERE prefix = $1", strings.Split(expiring.key, ".")[0])
	eventually(t, "the key expires", func() bool { return expiring.call(http.MethodGet, "/api/me/", nil).status != 200 })
	expiring.call(http.MethodGet, "/api/me/", nil).wantProblem(401, "unauthorized", "")
}

// A revoked key is rejected from then on. The last admin key without an expiry cannot be revoked.
func TestLastPermanentAdminKeyCannotBeRevoked(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	own := "/api/api-keys/" + text(objects(admin.get("/api/api-keys/"), "results")[0], "id") + "/"
	admin.post("/api/api-keys/", object{"name": "Expiring admin", "scopes": []string{"admin"}, "expiresAt": "2999-01-01T00:00:00Z"})
	admin.post("/api/api-keys/", object{"name": "Not an admin", "scopes": []string{"manage", "agent"}})
	admin.call(http.MethodDelete, own, nil).wantProblem(409, "conflict", "")
	made := admin.post("/api/api-keys/", object{"name": "Another", "scopes": []string{"admin", "chat"}})
	other := caller{organization: o, key: text(made, "key")}
	other.remove(own)
	admin.call(http.MethodGet, "/api/me/", nil).wantProblem(401, "unauthorized", "")
	other.call(http.MethodDelete, own, nil).wantProblem(404, "not_found", "")
	other.call(http.MethodDelete, "/api/api-keys/"+text(made, "id")+"/", nil).wantProblem(409, "conflict", "")
}

// getMe requires no particular scope.
func TestEveryKeyMayGetMe(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	for _, scope := range schemaOf("Scope").Enum {
		me := o.as("somebody", auth.Scope(scope.(string))).get("/api/me/")
		if !equalJSON(me["scopes"], []any{scope}) || len(me) != 6 || len(objects(me, "rateLimits")) != 6 {
			t.Errorf("getMe with the scope %v returned %v", scope, me)
		}
	}
}
