package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// derivedTables are updated by the server in the background: they hold counts.
var derivedTables = []string{"record_counts", "record_deletions", "stateless_usage"}

// snapshot returns all data of an organization, except for the last use of its keys. Rows of counts, which the server
// merges in the background, are summed.
func (o organization) snapshot() string {
	o.t.Helper()
	rows, err := o.sql.Query(o.t.Context(), `SELECT table_name FROM information_schema.columns
		JOIN information_schema.tables USING (table_schema, table_name)
		WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND column_name = 'organization_id' ORDER BY 1`)
	if err != nil {
		o.t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			o.t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if len(tables) < 12 {
		o.t.Fatalf("only these tables have an organization: %v", tables)
	}
	var all strings.Builder
	for _, table := range tables {
		rows := "SELECT to_jsonb(x) - 'last_used_at' AS row FROM " + table + " x WHERE organization_id = $1"
		switch {
		case slices.Contains(derivedTables, table):
			continue
		case strings.HasSuffix(table, "_counts"):
			rows = "SELECT what || jsonb_build_object('conversations', sum(n)) AS row FROM (SELECT to_jsonb(x) - ARRAY['id', 'is_change', 'conversations'] AS what, conversations AS n FROM " +
				table + " x WHERE organization_id = $1) y GROUP BY what HAVING sum(n) <> 0"
		}
		fmt.Fprintln(&all, table, query[string](o.server, "SELECT coalesce(string_agg(row::text, E'\n' ORDER BY row::text), '') FROM ("+rows+") z", o.id))
	}
	return all.String()
}

// callerFor returns a caller whose key has only the scopes that the operation requires.
func (o organization) callerFor(op operation, user string, more ...auth.Scope) caller {
	if slices.Contains(op.scopes, "admin") {
		return o.as(user, auth.Admin)
	}
	return o.as(user, append(slices.Clone(scopesWithoutAgent), more...)...)
}

// INVARIANT: data of another organization is never visible. Wherever an operation takes an ID, an ID of another
// organization is answered byte for byte like an unknown one, and nothing there changes.
func TestIDsOfAnotherOrganizationAnswerLikeUnknownIDs(t *testing.T) {
	t.Parallel()
	s := serveWith(t, settings{limits: map[string]int{"messages": 0, "history": 0, "list": 0}})
	ours, theirs := s.organization(), s.organization()
	foreign := theirs.as("owner", auth.Admin).createResources()
	before := theirs.snapshot()
	tried := 0
	for _, scope := range []auth.Scope{auth.Chat, auth.Agent, auth.Admin} {
		own := ours.as("me", scope).createResources()
		for _, op := range operations {
			if op.isStaffOnly() && scope == auth.Chat {
				continue
			}
			me := ours.callerFor(op, "me", scope)
			for _, at := range op.idPlaces() {
				answers := map[string]answer{}
				for name, id := range map[string]string{"theirs": foreign[at.kind], "nobody's": unknownIDs()[at.kind]} {
					path, body := at.put(own, id)
					answers[name] = op.send(me, path, body, withHeader("X-Request-Id", "same"))
				}
				got, want := answers["theirs"], answers["nobody's"]
				if op.id == "batchConversations" {
					// Each result repeats the ID that was sent. Otherwise the responses must be equal.
					got, want = got.firstResult(), want.firstResult()
				}
				for _, varying := range []string{"Date", "RateLimit"} {
					got.header.Del(varying)
					want.header.Del(varying)
				}
				switch {
				case got.status < 400 || got.status == 403:
					t.Errorf("%s, %s, as %s: %d %s", op.id, at.name, scope, got.status, got.body)
				case got.status != want.status || string(got.body) != string(want.body) || fmt.Sprint(got.header) != fmt.Sprint(want.header):
					t.Errorf("%s, %s, as %s: the foreign ID is %d %s %v, the unknown one %d %s %v", op.id, at.name, scope, got.status, got.body, got.header, want.status, want.body, want.header)
				}
				wanted := 404
				if (at.kind == "contacts" && strings.HasPrefix(at.name, "body")) || at.kind == "attachments" {
					wanted = 400
				}
				if want.status != wanted {
					t.Errorf("%s, %s, as %s: an unknown ID is %d %s", op.id, at.name, scope, want.status, want.body)
				}
				tried++
			}
		}
	}
	if after := theirs.snapshot(); after != before {
		t.Errorf("data of the other organization changed from\n%s\nto\n%s", before, after)
	}
	if tried < 90 {
		t.Errorf("only %d places were tested", tried)
	}
}

// firstResult returns the first result of a batch, as the response to a single request.
func (a answer) firstResult() answer {
	a.t.Helper()
	result := objects(a.wantStatus(http.StatusOK), "results")[0]
	if problem, ok := result["problem"]; ok && result["ok"] == false {
		a.body = must(json.Marshal(problem))
		a.status = number(problem.(object), "status")
	}
	return a
}

// ownedByUsers are kinds of resources that belong to one user. Others belong to the organization.
var ownedByUsers = []string{"conversations", "messages", "runs"}

// Another user's conversation in the same organization, and its contents, are 403 without the scope agent or admin.
// Resources that belong to no user are available to all callers with the scope, and so are the records of all
// conversations.
func TestConversationsOfOtherUsersRequireTheScopeAgent(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	for _, scope := range []auth.Scope{auth.Chat, auth.Agent, auth.Admin} {
		var own, theirs resourceIDs
		for _, op := range operations {
			if op.isStaffOnly() && scope == auth.Chat {
				continue
			}
			me := o.callerFor(op, "me", scope)
			for _, at := range op.idPlaces() {
				if own == nil {
					own, theirs = me.createResources(), o.as("colleague", auth.Chat).createResources()
				}
				base := theirs
				if strings.HasPrefix(at.name, "body") {
					base = maps.Clone(own)
					if at.kind == "conversations" || at.kind == "faqs" {
						base["chatbots"] = theirs["chatbots"] // the chatbot of the conversation or the FAQ
					}
				}
				path, body := at.put(base, theirs[at.kind])
				got := op.send(me, path, body)
				if op.id == "batchConversations" {
					got = got.firstResult()
				}
				if op.deletes() {
					own = nil
				}
				isStaff := scope == auth.Agent || slices.Contains(op.scopes, "admin") || scope == auth.Admin || slices.Contains(op.scopes, "records:read")
				switch {
				case slices.Contains(ownedByUsers, at.kind) && !isStaff:
					if err := got.checkProblem(403, "forbidden", ""); err != nil {
						t.Errorf("%s, %s, as %s: %v", op.id, at.name, scope, err)
					}
				case at.kind == "attachments" && !isStaff:
					if err := got.checkProblem(400, "invalid_message", strings.TrimPrefix(at.name, "body ")); err != nil {
						t.Errorf("%s, %s, as %s: %v", op.id, at.name, scope, err)
					}
				case got.status >= 300:
					t.Errorf("%s, %s, as %s: %d %s", op.id, at.name, scope, got.status, got.body)
				}
			}
		}
	}
}

// Callers need no staff scope for their own resources.
func TestOwnResourcesNeedNoStaffScope(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	var own resourceIDs
	for _, op := range operations {
		if op.isStaffOnly() {
			continue
		}
		me := o.callerFor(op, "me")
		for _, at := range op.idPlaces() {
			if own == nil {
				own = me.createResources()
			}
			path, body := at.put(own, own[at.kind])
			got := op.send(me, path, body)
			if op.id == "batchConversations" {
				got = got.firstResult()
			}
			if got.status >= 300 {
				t.Errorf("%s, %s: %d %s", op.id, at.name, got.status, got.body)
			}
			if op.deletes() {
				own = nil
			}
		}
	}
}

// Lists contain the caller's own resources, and the organization's for the staff, but never another organization's.
func TestListsExcludeOtherOrganizations(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ours, theirs := s.organization(), s.organization()
	foreign := theirs.as("owner", auth.Admin).createResources()
	own := ours.as("me", auth.Chat).createResources()
	for _, scope := range []auth.Scope{auth.Chat, auth.Agent, auth.Admin} {
		me := ours.as("reader", scope, auth.Manage)
		for _, op := range operations {
			if op.method != "GET" || !op.isSecured || len(op.in("path")) > 0 {
				continue
			}
			got := op.send(me, op.path, nil)
			for kind, id := range foreign {
				if strings.Contains(string(got.body), id) && kind != "problems" {
					t.Errorf("%s as %s returned another organization's %s", op.id, scope, kind)
				}
			}
			sees := strings.Contains(string(got.body), own["conversations"])
			if isMeant := (op.id == "listMessages" || op.id == "listInboxConversations") && scope != auth.Chat; sees != isMeant {
				t.Errorf("%s as %s returned a colleague's conversation: %v", op.id, scope, sees)
			}
		}
	}
	// A cursor is a position in time and grants no access.
	for range 3 {
		theirs.as("owner", auth.Admin).createResources()
	}
	cursor := text(theirs.as("owner", auth.Admin).get("/api/messages/?pageSize=2"), "nextCursor")
	page := ours.as("me", auth.Chat).get("/api/messages/?cursor=" + cursor)
	for _, message := range objects(page, "results") {
		if message["conversation"] != own["conversations"] {
			t.Errorf("another organization's cursor returned %v", message)
		}
	}
}
