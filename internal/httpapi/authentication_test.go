package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// Every kind of missing or invalid credentials is the same 401 on every operation that requires a
// key.
func TestSecuredOperationsRejectInvalidCredentials(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	known := o.as("known", auth.Admin)
	expired := o.as("expired", auth.Admin)
	revoked := o.as("revoked", auth.Admin)
	prefix, secret, _ := strings.Cut(known.key, ".")
	o.exec("UPDATE api_keys SET expires_at = clock_timestamp() - interval '1 second' WHERE name = $1", "expired's key")
	revoked.get("/api/me/")
	known.remove("/api/api-keys/" + query[string](o.server, "SELECT id::text FROM api_keys WHERE name = $1", "revoked's key") + "/")

	headers := map[string]string{
		"no key":               "",
		"only a scheme":        "Api-Key",
		"no scheme":            known.key,
		"another scheme":       "Basic " + known.key,
		"garbage":              "Bearer \xff\xfe \t..\xf0.",
		"no dot":               "Bearer " + prefix + secret,
		"unknown prefix":       "Bearer pk_0000000000." + secret,
		"empty prefix":         "Bearer ." + secret,
		"another's secret":     "Bearer " + prefix + "." + strings.Repeat("a", len(secret)),
		"no secret":            "Bearer " + prefix + ".",
		"secret in other case": "Bearer " + prefix + "." + swapCase(secret),
		"expired":              "Bearer " + expired.key,
		"revoked":              "Bearer " + revoked.key,
	}
	existing := known.createResources()
	for _, op := range operations {
		if !op.isSecured {
			continue
		}
		for name, header := range headers {
			if header == "" && op.isOpen {
				continue // an anonymous visitor
			}
			for _, ids := range []resourceIDs{existing, unknownIDs()} {
				got := o.call(op.method, op.pathOf(ids), op.validBody(ids), withHeader("Authorization", header))
				if header == "" {
					got = o.call(op.method, op.pathOf(ids), op.validBody(ids))
				}
				if err := got.checkProblem(http.StatusUnauthorized, "unauthorized", ""); err != nil {
					t.Errorf("%s, %s: %v", op.id, name, err)
				}
			}
		}
	}
}

// swapCase swaps upper and lower case of ASCII letters.
func swapCase(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

// Both authorization schemes are case-insensitive, as RFC 9110 requires.
func TestAuthorizationSchemeIsCaseInsensitive(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for _, scheme := range []string{"Api-Key", "api-key", "API-KEY", "Bearer", "bearer", "BEARER", "bEaReR"} {
		me := alice.server.call(http.MethodGet, "/api/me/", nil, withHeader("Authorization", scheme+" "+alice.key)).wantStatus(http.StatusOK)
		if text(me["user"].(object), "name") != "alice" {
			t.Errorf("%s: %v", scheme, me)
		}
	}
}

// A request without a valid key must not learn from the response whether its body is valid.
func TestAuthenticationPrecedesBodyValidation(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.call(http.MethodPost, "/api/conversations/start", "{", withHeader("Content-Type", "text/plain")).wantProblem(401, "unauthorized", "")
	s.organization().as("records", auth.RecordsRead).
		call(http.MethodPost, "/api/conversations/start", "{", withHeader("Content-Type", "text/plain")).wantProblem(403, "forbidden", "")
}

// Each scope allows exactly the operations whose x-scopes contain it. admin allows all, and an
// empty x-scopes requires no scope. The requested resources do not exist, so only the key decides.
func TestScopesAllowExactlyTheirOperations(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	for _, value := range schemaOf("Scope").Enum {
		scope := auth.Scope(value.(string))
		holder := o.as("holder of "+string(scope), scope)
		for _, op := range operations {
			if !op.isSecured {
				continue
			}
			ids := unknownIDs()
			got := op.send(holder, op.target(ids, ""), op.validBody(ids))
			isAllowed := len(op.scopes) == 0 || scope == auth.Admin
			for _, required := range op.scopes {
				isAllowed = isAllowed || required == string(scope)
			}
			if isAllowed && (got.status == http.StatusForbidden || got.status == http.StatusUnauthorized) {
				t.Errorf("%s with %s: %d", op.id, scope, got.status)
			}
			if isAllowed {
				continue
			}
			if err := got.checkProblem(http.StatusForbidden, "forbidden", ""); err != nil {
				t.Errorf("%s with %s: %v", op.id, scope, err)
				continue
			}
			for _, required := range op.scopes {
				if !strings.Contains(got.detail(), required) {
					t.Errorf("the 403 of %s with %s does not name the scope %s: %s", op.id, scope, required, got.body)
				}
			}
		}
	}
}

// Public operations answer without a key, and with an invalid one.
func TestPublicOperationsNeedNoKey(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, op := range operations {
		if op.isSecured {
			continue
		}
		path := op.pathOf(resourceIDs{"problems": "not_found"})
		for _, options := range [][]option{nil, {withHeader("Authorization", "Bearer nonsense")}} {
			if got := s.call(op.method, path, nil, options...); got.status != http.StatusOK {
				t.Errorf("%s: %d", op.id, got.status)
			}
		}
	}
}
