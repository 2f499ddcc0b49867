package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// events returns an organization's audit events, newest first.
func (c caller) events(query string) []object {
	c.t.Helper()
	return objects(c.get("/api/audit-events/?pageSize=100&"+query), "results")
}

// auditActions maps each action to the table it writes, the objectType of its events and the path
// segment of its resource.
var auditActions = map[string]struct{ table, object, kind string }{
	"apiKey.created":       {"api_keys", "apiKey", ""},
	"apiKey.revoked":       {"api_keys", "apiKey", "api-keys"},
	"apiKey.updated":       {"", "apiKey", "api-keys"},
	"conversation.deleted": {"sessions", "conversation", "conversations"},
	"contact.deleted":      {"contacts", "contact", "contacts"},
	"chatbot.deleted":      {"bots", "chatbot", "chatbots"},
	"faq.deleted":          {"faqs", "faq", "faqs"},
	"webChat.deleted":      {"web_chats", "webChat", "web-chats"},
	"records.exported":     {"", "chatbot", "chatbots"},
}

// audits returns the action of the operation's audit event, or an empty string if it records none.
func (op operation) audits() string {
	action, _ := op.Extensions["x-audit"].(string)
	return action
}

// effective returns a request of the operation that causes its audited effect.
func (op operation) effective(own resourceIDs) (path string, body any) {
	if op.id == "batchConversations" {
		return op.path, object{"operations": []object{
			{"action": "delete", "conversation_id": own["conversations"]}, {"action": "delete", "conversation_id": unknownIDs()["conversations"]},
		}}
	}
	return op.target(own, ""), op.validBody(own)
}

// An operation with x-audit records one event, with its caller, for each successful request. Failed
// requests and other operations record none.
func TestAuditedOperationsRecordOneEvent(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin, me := o.as("admin", auth.Admin), o.as("me", auth.Admin)
	key := query[string](o.server, "SELECT id::text FROM api_keys WHERE name = $1", "me's key")
	recordedActions := map[string]bool{}
	var own resourceIDs
	for _, op := range operations {
		if !op.isSecured {
			continue
		}
		if own == nil {
			own = me.createResources()
		}
		for name, resources := range map[string]resourceIDs{"unknown": unknownIDs(), "own": own} {
			before := number(admin.get("/api/audit-events/"), "count")
			path, body := op.effective(resources)
			got := op.send(me, path, body, withHeader("X-Request-Id", op.id))
			after := admin.get("/api/audit-events/")
			recorded := objects(after, "results")[:number(after, "count")-before]
			hasEffect := op.audits() != "" && got.status < 300 && (name == "own" || op.id != "batchConversations")
			if !hasEffect {
				if len(recorded) > 0 {
					t.Errorf("%s of %s: status %d, recorded events %v", op.id, name, got.status, recorded)
				}
				continue
			}
			recordedActions[op.audits()] = true
			if len(recorded) != 1 {
				t.Errorf("%s of %s: status %d, recorded events %v", op.id, name, got.status, recorded)
				continue
			}
			event, about := recorded[0], auditActions[op.audits()]
			if address := text(event, "address"); event["action"] != op.audits() || event["objectType"] != about.object || event["details"].(object)["callerRequestId"] != op.id || event["requestId"] == op.id || event["keyId"] != key ||
				event["user"].(object)["name"] != "me" || address != "127.0.0.1" && address != "::1" {
				t.Errorf("%s recorded the event %v", op.id, event)
			}
			if about.kind != "" && event["objectId"] != resources[about.kind] {
				t.Errorf("the event of %s has the objectId %v, want %s", op.id, event["objectId"], resources[about.kind])
			}
			if strings.HasSuffix(op.audits(), ".deleted") {
				own = nil
			}
		}
	}
	if len(recordedActions) != len(auditActions) {
		t.Errorf("the recorded actions are %v", recordedActions)
	}
}

// INVARIANT: an effect and its audit event are stored in one transaction. If either fails at
// commit, neither is stored.
func TestEffectAndAuditEventAreStoredAtomically(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	me := o.as("me", auth.Admin)
	own := me.createResources()
	s.expectFailures()
	s.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected failure'; END $$`)
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
				t.Errorf("%s, with a failing %s: %d %s", op.id, table, got.status, got.body)
			}
		}
		if after := o.snapshot(); after != before {
			t.Errorf("the failing %s changed\n%s", table, diffLines(before, after))
		}
		if tried == 0 {
			t.Errorf("no operation was tested with a failing %s", table)
		}
		s.exec("DROP TRIGGER fails ON " + table)
	}
}

// diffLines returns the lines that occur in only one of two texts.
func diffLines(before, after string) string {
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

// A replayed request records no second event, and each conversation of a batch has its own event.
func TestReplayedRequestRecordsNoSecondAuditEvent(t *testing.T) {
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
		t.Errorf("the events for %v are %v", ids, deleted)
	}
}

// Audit events are filtered by action and date. Keys created by the operator have an event without
// a user.
func TestAuditEventsAreFilteredByActionAndDate(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	made := admin.post("/api/api-keys/", object{"name": "Portal", "user": "portal", "scopes": []string{"agent"}})
	admin.remove("/api/api-keys/" + text(made, "id") + "/")
	for query, want := range map[string]int{
		"": 3, "action=apiKey.created": 2, "action=apiKey.revoked": 1, "action=faq.deleted": 0, "startDate=" + dayParameters["startDate"]: 3, "startDate=" + dayParameters["endDate"]: 0, "endDate=" + dayParameters["startDate"]: 0,
		"startDate=" + dayParameters["startDate"] + "&endDate=" + dayParameters["endDate"] + "&timezone=Asia/Taipei&action=apiKey.revoked": 1, "endDate=9999-12-31": 3,
	} {
		if got := admin.events(query); len(got) != want {
			t.Errorf("%q: %d events, want %d", query, len(got), want)
		}
	}
	events := admin.events("")
	revoked, created, byOperator := events[0], events[1], events[2]
	if byOperator["user"] != nil || byOperator["keyId"] != nil || byOperator["requestId"] != "" || byOperator["address"] != "" {
		t.Errorf("the event of the operator's key is %v", byOperator)
	}
	for _, event := range []object{revoked, created} {
		details := event["details"].(object)
		if details["prefix"] != made["prefix"] || details["name"] != "Portal" || event["objectId"] != made["id"] {
			t.Errorf("the event %v does not describe the key %v", event, made)
		}
	}
	admin.call(http.MethodGet, "/api/audit-events/?startDate=2026-02-02&endDate=2026-02-01", nil).wantProblem(400, "invalid_request", "endDate")
	admin.call(http.MethodGet, "/api/audit-events/?page=2", nil).wantProblem(404, "not_found", "")
}
