package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

const broadcast = "/api/v1/contacts/broadcast-message"

// A broadcast sends one outgoing message to the latest conversation of each contact, and says which contacts it cannot
// reach. The three modes are those of MaiAgent's examples.
func TestBroadcastReachesTheLatestConversationOfEachContact(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin, agent := o.as("admin", auth.Admin), o.as("agent", auth.Agent)
	website, inbox := o.webChat.ID.String(), o.webChat.InboxID.String()
	create := func(name string) string {
		return text(admin.post(contacts, object{"name": name, "inboxes": []object{{"id": inbox}}}), "id")
	}
	alex, kim, silent := create("Alex"), create("Kim"), create("Silent")
	older := admin.conversationOf(alex, website, "First")
	latest := map[string]string{alex: admin.conversationOf(alex, website, "Second"), kim: admin.conversationOf(kim, website, "")}
	unknown := unknownIDs()["contacts"]
	for i, mode := range []struct {
		body               object
		reached, unreached []string
	}{
		{object{"contact_ids": []string{kim, alex, silent, unknown, "<contact-id-1>", strings.ToUpper(alex)}}, []string{kim, alex}, []string{silent, unknown, "<contact-id-1>"}},
		{object{"contactIds": []any{object{"id": alex}}}, []string{alex}, nil},
		{object{"inbox_id": inbox, "exclude_contact_ids": []string{alex, "x"}}, []string{kim}, []string{silent}},
		{object{"inboxId": inbox}, []string{alex, kim}, []string{silent}},
		{object{"contact_ids": []string{}}, nil, nil},
	} {
		mode.body["message"] = fmt.Sprint("Broadcast ", i)
		before := len(admin.history(latest[alex]))
		got := agent.call(http.MethodPost, broadcast, mode.body).wantStatus(200)
		var reached, unreached []string
		for _, result := range objects(got, "results") {
			contact := text(result, "contact_id")
			reached = append(reached, contact)
			message := admin.get("/api/messages/" + text(result, "message_id") + "/")
			if result["status"] != "success" || result["conversation_id"] != latest[contact] || message["conversation"] != latest[contact] ||
				message["content"] != mode.body["message"] || message["type"] != "outgoing" || message["runId"] != nil {
				t.Errorf("%v: %v stored %v", mode.body, result, message)
			}
		}
		for _, failed := range objects(got, "errors") {
			unreached = append(unreached, text(failed, "contact_id"))
		}
		if !slices.Equal(reached, mode.reached) || !slices.Equal(unreached, mode.unreached) || number(got, "success_count") != len(reached) ||
			number(got, "error_count") != len(unreached) || number(got, "total_contacts") != len(reached)+len(unreached) {
			t.Errorf("%v: %v", mode.body, got)
		}
		if sent := len(admin.history(latest[alex])) - before; (sent == 1) != slices.Contains(reached, alex) || sent > 1 {
			t.Errorf("%v: Alex received %d messages", mode.body, sent)
		}
	}
	if got := admin.history(older); len(got) != 2 {
		t.Errorf("the older conversation has %d messages, want 2", len(got))
	}
	for _, refused := range []struct {
		body   object
		status int
		where  string
	}{
		{object{"message": " ", "inbox_id": inbox}, 400, "/message"},
		{object{"inbox_id": inbox}, 400, "/message"},
		{object{"message": "Hello"}, 400, "/contact_ids"},
		{object{"message": "Hello", "contact_ids": []string{alex}, "inbox_id": inbox}, 400, "/contact_ids"},
		{object{"message": "Hello", "contact_ids": []string{alex}, "exclude_contact_ids": []string{kim}}, 400, "/exclude_contact_ids"},
		{object{"message": "Hello", "contact_ids": slices.Repeat([]string{"x"}, 10_001)}, 400, "/contact_ids"},
		{object{"message": "Hello", "inbox_id": unknownIDs()["inboxes"]}, 404, ""},
		{object{"message": strings.Repeat("x", 100_001), "inbox_id": inbox}, 413, ""},
	} {
		if got := agent.call(http.MethodPost, broadcast, refused.body); got.status != refused.status || !strings.Contains(string(got.body), refused.where) {
			t.Errorf("%.100v: %d %s", refused.body, got.status, got.body)
		}
	}
	o.as("alice", auth.Chat).call(http.MethodPost, broadcast, object{"message": "Hello", "inbox_id": inbox}).wantProblem(403, "forbidden", "")
}

// A broadcast that was interrupted and is repeated under its key sends only what is missing. A repeat after that
// changes nothing, even if the inbox has another contact by then.
func TestInterruptedBroadcastIsCompletedByItsRepeat(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	inbox := o.addContacts("Member", 40)
	key, body := withHeader("Idempotency-Key", "k"), object{"message": "Hello", "inbox_id": inbox}
	o.expectFailures()
	o.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF EXISTS (SELECT FROM sessions s JOIN contacts c ON c.id = s.contact_id WHERE s.id = NEW.session_id AND c.name = 'Member 33') THEN RAISE EXCEPTION 'injected failure'; END IF;
		RETURN NEW; END $$`)
	o.exec("CREATE TRIGGER fails BEFORE INSERT ON message_history FOR EACH ROW EXECUTE FUNCTION fail()")
	if got := admin.call(http.MethodPost, broadcast, body, key); got.status != 500 {
		t.Fatalf("the interrupted broadcast is %d %s", got.status, got.body)
	}
	admin.call(http.MethodPost, broadcast, object{"message": "Other", "inbox_id": inbox}, key).wantProblem(422, "unprocessable", "")
	o.exec("DROP TRIGGER fails ON message_history")
	first := admin.call(http.MethodPost, broadcast, body, key)
	if result := first.wantStatus(200); number(result, "success_count") != 40 {
		t.Errorf("the repeat is %v", result)
	}
	o.addContacts("Later", 1)
	again := admin.call(http.MethodPost, broadcast, body, key)
	if string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the second repeat is %d %s", again.status, again.body)
	}
	received := query[string](o.server, `SELECT coalesce(string_agg(DISTINCT n::text, ' '), '') FROM (
		SELECT count(m.id) AS n FROM contacts c JOIN sessions s ON s.contact_id = c.id LEFT JOIN message_history m ON m.session_id = s.id
		WHERE c.organization_id = $1 AND c.name LIKE 'Member%' GROUP BY c.id) counts`, o.id)
	if received != "1" {
		t.Errorf("the contacts received %s messages each, want 1", received)
	}
}

// The largest broadcast reaches all of its contacts. An inbox with one more is refused.
func TestBroadcastHasAtMostTenThousandContacts(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	inbox := o.addContacts("Member", 10_000)
	began := time.Now()
	got := admin.call(http.MethodPost, broadcast, object{"message": "Hello", "inbox_id": inbox}).wantStatus(200)
	t.Log("10,000 messages took", time.Since(began))
	if number(got, "success_count") != 10_000 || query[int](o.server, "SELECT count(DISTINCT session_id) FROM message_history WHERE organization_id = $1", o.id) != 10_000 {
		t.Errorf("%d contacts received the message", number(got, "success_count"))
	}
	o.addContacts("One", 1)
	admin.call(http.MethodPost, broadcast, object{"message": "Hello", "inbox_id": inbox}).wantProblem(400, "invalid_request", "/inbox_id")
}

// addContacts adds contacts with a conversation each to the website's inbox, and returns that.
func (o organization) addContacts(name string, count int) string {
	o.t.Helper()
	owner := o.as("owner of "+name, auth.Chat)
	owner.get("/api/me/")
	o.exec(`WITH added AS (
		INSERT INTO contacts (organization_id, id, name) SELECT $1, gen_random_uuid(), $2 || ' ' || n FROM generate_series(1, $3::integer) n RETURNING *
	), joined AS (
		INSERT INTO contact_inboxes (organization_id, contact_id, inbox_id) SELECT organization_id, id, $4 FROM added
	)
	INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id)
	SELECT a.organization_id, gen_random_uuid(), (SELECT u.id FROM users u WHERE u.organization_id = $1 LIMIT 1), $5, $4, a.id FROM added a`,
		o.id, name, count, o.webChat.InboxID, o.bot.ID)
	return o.webChat.InboxID.String()
}
