package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// events are all of an organization's, newest first.
func (c caller) events(query string) []object {
	c.t.Helper()
	return objects(c.get("/api/audit-events/?pageSize=100&"+query), "results")
}

// auditActions is what the events of an action are about: where it is written, what the trail calls it, and what paths do.
var auditActions = map[string]struct{ table, object, kind string }{
	"apiKey.created":       {"api_keys", "apiKey", ""},
	"apiKey.revoked":       {"api_keys", "apiKey", "api-keys"},
	"conversation.deleted": {"sessions", "conversation", "conversations"},
	"contact.deleted":      {"contacts", "contact", "contacts"},
	"chatbot.deleted":      {"bots", "chatbot", "chatbots"},
	"faq.deleted":          {"faqs", "faq", "faqs"},
	"webChat.deleted":      {"web_chats", "webChat", "web-chats"},
	"records.exported":     {"", "chatbot", "chatbots"},
}

// audits is the action of the event that an operation leaves; empty: it leaves none.
func (op operation) audits() string {
	action, _ := op.Extensions["x-audit"].(string)
	return action
}

// effective is a request of an operation that has the effect of which it leaves an event.
func (op operation) effective(own things) (path string, body any) {
	if op.id == "batchConversations" {
		return op.path, object{"operations": []object{
			{"action": "delete", "conversation_id": own["conversations"]}, {"action": "delete", "conversation_id": nothing()["conversations"]},
		}}
	}
	return op.target(own, ""), op.anyBody(own)
}

// Every operation that the document says leaves an event leaves one for what it has done, which tells who did it; what is
// refused leaves none, and so does every other operation.
func TestWhatIsDoneWithKeysIsInTheAuditTrail(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin, me := o.as("admin", auth.Admin), o.as("me", auth.Admin)
	key := query[string](o.server, "SELECT id::text FROM api_keys WHERE name = $1", "me's key")
	met := map[string]bool{}
	var own things
	for _, op := range operations {
		if !op.isSecured {
			continue
		}
		if own == nil {
			own = me.one()
		}
		for name, there := range map[string]things{"nobody's": nothing(), "own": own} {
			before := number(admin.get("/api/audit-events/"), "count")
			path, body := op.effective(there)
			got := op.send(me, path, body, withHeader("X-Request-Id", op.id))
			after := admin.get("/api/audit-events/")
			left := objects(after, "results")[:number(after, "count")-before]
			hasEffect := op.audits() != "" && got.status < 300 && (name == "own" || op.id != "batchConversations")
			if !hasEffect {
				if len(left) > 0 {
					t.Errorf("%s of %s: %d left %v", op.id, name, got.status, left)
				}
				continue
			}
			met[op.audits()] = true
			if len(left) != 1 {
				t.Errorf("%s of %s: %d left %v", op.id, name, got.status, left)
				continue
			}
			event, about := left[0], auditActions[op.audits()]
			if address := text(event, "address"); event["action"] != op.audits() || event["objectType"] != about.object || event["requestId"] != op.id || event["keyId"] != key ||
				event["user"].(object)["name"] != "me" || address != "127.0.0.1" && address != "::1" {
				t.Errorf("%s left %v", op.id, event)
			}
			if about.kind != "" && event["objectId"] != there[about.kind] {
				t.Errorf("%s is about %v, not %s", op.id, event["objectId"], there[about.kind])
			}
			if strings.HasSuffix(op.audits(), ".deleted") {
				own = nil
			}
		}
	}
	if len(met) != len(auditActions) {
		t.Errorf("only these were met: %v", met)
	}
}

// INVARIANT: an effect and its event are stored together. Where either fails as late as can be, neither is there.
func TestThereIsNoEffectWithoutItsEventNorTheOtherWay(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	me := o.as("me", auth.Admin)
	own := me.one()
	s.expectFailures()
	s.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it fails'; END $$`)
	for _, table := range []string{"audit_events", "api_keys", "sessions", "contacts", "bots", "faqs", "web_chats"} {
		s.exec("CREATE CONSTRAINT TRIGGER fails AFTER INSERT OR DELETE ON " + table + " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()")
		before := o.snapshot()
		tried := 0
		for _, op := range operations {
			if op.audits() == "" || table != "audit_events" && auditActions[op.audits()].table != table {
				continue
			}
			tried++
			path, body := op.effective(own)
			if got := op.send(me, path, body); got.status != http.StatusInternalServerError {
				t.Errorf("%s, with %s failing: %d %s", op.id, table, got.status, got.body)
			}
		}
		if after := o.snapshot(); after != before {
			t.Errorf("with %s failing there is\n%s", table, whatChanged(before, after))
		}
		if tried == 0 {
			t.Errorf("nothing was tried with %s", table)
		}
		s.exec("DROP TRIGGER fails ON " + table)
	}
}

// whatChanged is the lines that only one of two texts has.
func whatChanged(before, after string) string {
	var found strings.Builder
	had, has := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range had {
		if !slices.Contains(has, line) {
			fmt.Fprintln(&found, "-", line)
		}
	}
	for _, line := range has {
		if !slices.Contains(had, line) {
			fmt.Fprintln(&found, "+", line)
		}
	}
	return found.String()
}

// A repeat of a request leaves no second event, and each of a batch's conversations has its own.
func TestEachThingIsInTheAuditTrailOnce(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	me, admin := o.as("me", auth.Chat), o.as("admin", auth.Admin)
	first, second := me.startConversation(), me.startConversation()
	body := object{"operations": []object{{"action": "delete", "conversation_id": first}, {"action": "archive", "conversation_id": second}, {"action": "delete", "conversation_id": second}, {"action": "delete", "conversation_id": second}}}
	for range 2 {
		me.call(http.MethodPost, "/api/conversations/batch", body, withHeader("Idempotency-Key", "k")).wantStatus(200)
	}
	deleted := admin.events("action=conversation.deleted")
	ids := []string{first, second}
	if len(deleted) != 2 || deleted[0]["objectId"] == deleted[1]["objectId"] || !slices.Contains(ids, text(deleted[0], "objectId")) || !slices.Contains(ids, text(deleted[1], "objectId")) {
		t.Errorf("of %v there is %v", ids, deleted)
	}
}

// The trail is found by what was done and when, and shows the keys that the operator made as nobody's.
func TestTheAuditTrailIsFiltered(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	made := admin.post("/api/api-keys/", object{"name": "Portal", "user": "portal", "scopes": []string{"agent"}})
	admin.remove("/api/api-keys/" + text(made, "id") + "/")
	for query, want := range map[string]int{
		"": 3, "action=apiKey.created": 2, "action=apiKey.revoked": 1, "action=faq.deleted": 0, "startDate=" + days["startDate"]: 3, "startDate=" + days["endDate"]: 0, "endDate=" + days["startDate"]: 0,
		"startDate=" + days["startDate"] + "&endDate=" + days["endDate"] + "&timezone=Asia/Taipei&action=apiKey.revoked": 1, "endDate=9999-12-31": 3,
	} {
		if got := admin.events(query); len(got) != want {
			t.Errorf("%q: %d events, not %d", query, len(got), want)
		}
	}
	events := admin.events("")
	revoked, created, byOperator := events[0], events[1], events[2]
	if byOperator["user"] != nil || byOperator["keyId"] != nil || byOperator["requestId"] != "" || byOperator["address"] != "" {
		t.Errorf("the operator's is %v", byOperator)
	}
	for _, event := range []object{revoked, created} {
		details := event["details"].(object)
		if details["prefix"] != made["prefix"] || details["name"] != "Portal" || event["objectId"] != made["id"] {
			t.Errorf("%v of %v", event, made)
		}
	}
	admin.call(http.MethodGet, "/api/audit-events/?startDate=2026-02-02&endDate=2026-02-01", nil).wantProblem(400, "invalid_request", "endDate")
	admin.call(http.MethodGet, "/api/audit-events/?page=2", nil).wantProblem(404, "not_found", "")
}
