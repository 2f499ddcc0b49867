package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"parley/internal/auth"
)

// equivalentBody returns a body with the same meaning and other bytes.
func equivalentBody(body any) any {
	switch body := body.(type) {
	case []byte:
		return append([]byte("\n"), body...)
	case string:
		return body + " "
	default:
		return string(must(json.Marshal(body))) + " "
	}
}

// sendIdempotent sends a request under an Idempotency-Key.
func (op operation) sendIdempotent(c caller, path string, body any, key string) (answer, error) {
	options := []option{withHeader("Authorization", "Api-Key "+c.key), withHeader("Idempotency-Key", key)}
	if file, ok := body.([]byte); ok {
		form, kind := upload("file", "faqs.csv", file)
		return c.tryCall(op.method, path, form, append(options, kind)...)
	}
	return c.tryCall(op.method, path, body, options...)
}

// mustSendIdempotent is sendIdempotent for requests that must receive a response.
func (op operation) mustSendIdempotent(c caller, path string, body any, key string) answer {
	c.t.Helper()
	got, err := op.sendIdempotent(c, path, body, key)
	if err != nil {
		c.t.Fatalf("%s: %v", op.id, err)
	}
	return got
}

// isExecuted reports whether the request was executed rather than replayed.
func (a answer) isExecuted() bool {
	return a.status < 300 && a.header.Get("Idempotency-Replayed") == ""
}

// wantReplay fails the test unless the response replays the first one, or refuses to replay one that contained a secret.
func (a answer) wantReplay(op operation, first answer) {
	a.t.Helper()
	if secret[op.id] {
		if err := a.checkProblem(409, "conflict", ""); err != nil || a.header.Get("Retry-After") != "" {
			a.t.Errorf("%s: %v, Retry-After %q", op.id, err, a.header.Get("Retry-After"))
		}
		return
	}
	if a.status != first.status || a.header.Get("Idempotency-Replayed") != "true" || string(a.body) != string(first.body) {
		a.t.Errorf("%s: the repeat is %d %v %s\nthe first response %d %s", op.id, a.status, a.header, a.body, first.status, first.body)
	}
}

// awaitReplies waits until every question is answered.
func (o organization) awaitReplies() {
	o.t.Helper()
	eventually(o.t, "no run is queued or running", func() bool {
		return query[bool](o.server, "SELECT NOT EXISTS (SELECT FROM sessions WHERE active_run IS NOT NULL)")
	})
}

// rowCounts returns the number of rows of an organization in each table.
func (o organization) rowCounts() map[string]int {
	o.t.Helper()
	counts := map[string]int{}
	table := ""
	for line := range strings.Lines(o.snapshot()) {
		if name, row, ok := strings.Cut(line, " {"); ok && !strings.Contains(name, "{") {
			table, line = name, "{"+row
		}
		if strings.HasPrefix(line, "{") {
			counts[table]++
		}
	}
	return counts
}

// keyedOperations are the operations that accept an Idempotency-Key and a body. An operation without a body has only
// one request to repeat.
func keyedOperations() []operation {
	var found []operation
	for _, op := range operations {
		if op.RequestBody == nil {
			continue
		}
		for _, parameter := range op.in("header") {
			if parameter.Name == "Idempotency-Key" {
				found = append(found, op)
			}
		}
	}
	return found
}

// Every operation that declares the header is in idempotentBodies.
func TestIdempotentOperationsAreAllTested(t *testing.T) {
	t.Parallel()
	known := idempotentBodies(nil)
	for _, op := range keyedOperations() {
		if known[op.id] == nil {
			t.Errorf("%s accepts an Idempotency-Key and is not tested", op.id)
		}
		delete(known, op.id)
	}
	for id := range known {
		t.Errorf("%s is tested and does not accept an Idempotency-Key", id)
	}
}

// A repeat under a key receives the same response byte for byte and has no effect. With another body it is refused.
// The same key is independent for another operation or another user.
func TestRepeatedRequestsReplayTheResponse(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, spare, bob := o.as("alice", auth.Admin), o.as("alice", auth.Admin), o.as("bob", auth.Admin)
	resources := alice.createResources()
	bodies := idempotentBodies(resources)
	for _, op := range keyedOperations() {
		if op.deletes() {
			continue // succeeds once
		}
		path := op.pathOf(resources)
		for i, body := range bodies[op.id] {
			key := fmt.Sprint("body-", i) // in all operations
			first := op.mustSendIdempotent(alice, path, body, key)
			if !first.isExecuted() {
				t.Errorf("%s: %d %s", op.id, first.status, first.body)
			}
			o.awaitReplies()
			before := o.snapshot()
			for _, who := range []caller{alice, spare} {
				op.mustSendIdempotent(who, path, body, key).wantReplay(op, first)
			}
			if err := op.mustSendIdempotent(alice, path, equivalentBody(body), key).checkProblem(422, "unprocessable", ""); err != nil {
				t.Errorf("%s with another body: %v", op.id, err)
			}
			if after := o.snapshot(); after != before {
				t.Errorf("%s: a repeat changed\n%s\nto\n%s", op.id, before, after)
			}
			if got := op.mustSendIdempotent(bob, path, body, key); !got.isExecuted() || string(got.body) == string(first.body) && op.id != "batchConversations" && op.id != "importFaqs" {
				t.Errorf("%s of another user: %d %s", op.id, got.status, got.body)
			}
			o.awaitReplies()
		}
	}
}

// A repeat is answered from the stored response, even if the resources it names were deleted.
func TestRepeatIsReplayedAfterItsResourcesAreDeleted(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	resources := admin.createResources()
	bodies := idempotentBodies(resources)
	firsts := map[string]answer{}
	var tried []operation
	for _, op := range keyedOperations() {
		if _, isMessage := keyedMessages("", "")[op.id]; isMessage || op.id == "createOutgoingMessage" || op.id == "createCompletion" || op.id == "createChatCompletion" {
			continue // answered from the stored message
		}
		tried = append(tried, op)
		firsts[op.id] = op.mustSendIdempotent(admin, op.pathOf(resources), bodies[op.id][0], "k")
	}
	o.awaitReplies()
	admin.patch("/api/chatbots/parley/", object{"isDefault": true})
	o.exec("DELETE FROM contacts WHERE organization_id = $1", o.id)
	o.exec("DELETE FROM bots WHERE organization_id = $1", o.id)
	for _, op := range tried {
		op.mustSendIdempotent(admin, op.pathOf(resources), bodies[op.id][0], "k").wantReplay(op, firsts[op.id])
	}
}

// A refused request leaves its key unused, whatever the reason, and stores nothing.
func TestRefusedRequestLeavesItsIdempotencyKeyUnused(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	resources := admin.createResources()
	admin.post("/api/chatbots/", object{"name": "Taken", "slug": "taken"})
	admin.post("/api/contacts/", object{"name": "Taken", "sourceId": "taken"})
	wrong := map[string]any{
		"importFaqs":    []byte("no columns\n"),
		"createChatbot": object{"name": "Other", "slug": "taken", "isDefault": true}, // fails after most of the work is done
		"createContact": object{"name": "Other", "sourceId": "taken"},
		"createApiKey":  object{"name": "Other", "user": "new user", "expiresAt": "2020-01-01T00:00:00Z"},
	}
	bodies := idempotentBodies(resources)
	for _, op := range keyedOperations() {
		o.awaitReplies()
		before := o.snapshot()
		refuse := func(what, path string, body any) {
			if got := op.mustSendIdempotent(admin, path, body, "k"); got.status < 400 || got.status >= 500 {
				t.Errorf("%s, %s: %d %s", op.id, what, got.status, got.body)
			}
		}
		if body := wrong[op.id]; body != nil {
			refuse("a wrong body", op.pathOf(resources), body)
		}
		if !op.isUpload() {
			refuse("no JSON", op.pathOf(resources), "{")
		}
		for _, at := range op.idPlaces() {
			path, body := at.put(resources, unknownIDs()[at.kind])
			if op.isUpload() {
				body = bodies[op.id][0]
			}
			if op.id != "batchConversations" {
				refuse(at.name, path, body)
			}
		}
		if after := o.snapshot(); after != before {
			t.Errorf("%s: a refused request changed\n%s\nto\n%s", op.id, before, after)
		}
		if got := op.mustSendIdempotent(admin, op.pathOf(resources), bodies[op.id][0], "k"); !got.isExecuted() {
			t.Errorf("%s: %d %v %s", op.id, got.status, got.header, got.body)
		}
	}
}

// Fifty concurrent requests with one key have the effect of one, and receive the same response.
func TestConcurrentRequestsWithOneIdempotencyKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	resources := admin.createResources()
	bodies := idempotentBodies(resources)
	for _, op := range keyedOperations() {
		if op.isUpload() || op.deletes() {
			continue // postConcurrently sends JSON, and a deletion succeeds once
		}
		path, body := op.pathOf(resources), bodies[op.id][0]
		effect := func(act func()) map[string]int {
			o.awaitReplies()
			before := o.rowCounts()
			act()
			o.awaitReplies()
			made := o.rowCounts()
			for table, count := range before {
				if made[table] -= count; made[table] == 0 {
					delete(made, table)
				}
			}
			return made
		}
		op.mustSendIdempotent(admin, path, body, "before") // create the shared resources first
		single := effect(func() { op.mustSendIdempotent(admin, path, body, "one") })
		fifty := effect(func() {
			var first answer
			answers := admin.postConcurrently(50, func(int) (string, any) { return path, body }, withHeader("Idempotency-Key", "fifty"))
			firsts := 0
			for _, got := range answers {
				if got.isExecuted() {
					first = got
					firsts++
				}
			}
			if firsts != 1 {
				t.Errorf("%s was executed %d times: %d %s", op.id, firsts, answers[0].status, answers[0].body)
				return
			}
			for _, got := range answers {
				if !got.isExecuted() {
					got.wantReplay(op, first)
				}
			}
		})
		if !maps.Equal(single, fifty) || single["idempotency_keys"] != 1 && op.id != "broadcastMessage" { // which has a key for each message
			t.Errorf("%s: one request stores %v, fifty store %v", op.id, single, fifty)
		}
	}
}

// A repeat during the first request waits for a while, and is then refused with Retry-After. The first request is not
// affected.
func TestRepeatOfARunningRequestAnswersRetryAfter(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{connections: 32}).organization()
	admin := o.as("admin", auth.Admin)
	resources := admin.createResources()
	admin.get("/api/me/")
	bodies := idempotentBodies(resources)
	var held []operation
	for _, op := range keyedOperations() {
		if op.Responses.Value("409") != nil {
			held = append(held, op)
		}
	}
	if len(held) < 9 {
		t.Fatalf("only %d operations declare the 409 for a running request", len(held))
	}
	all := func() func() []answer {
		answers, errs := make([]answer, len(held)), make([]error, len(held))
		var sent sync.WaitGroup
		for i, op := range held {
			sent.Go(func() { answers[i], errs[i] = op.sendIdempotent(admin, op.pathOf(resources), bodies[op.id][0], "k") })
		}
		return func() []answer {
			sent.Wait()
			for i, err := range errs {
				if err != nil {
					t.Fatalf("%s: %v", held[i].id, err)
				}
			}
			return answers
		}
	}

	// given requests that have claimed their keys and are blocked
	tx := must(o.sql.Begin(t.Context()))
	defer tx.Rollback(t.Context())
	for _, held := range []string{"contacts, inboxes, bots, faqs, api_keys IN SHARE MODE", "sessions IN ACCESS EXCLUSIVE MODE"} {
		if _, err := tx.Exec(t.Context(), "LOCK TABLE "+held); err != nil {
			t.Fatal(err)
		}
	}
	firsts := all()
	eventually(t, "all requests are blocked", func() bool {
		return query[int](o.server, `SELECT count(DISTINCT claims.pid) FROM pg_locks claims JOIN pg_locks waits USING (pid)
			WHERE claims.relation = 'idempotency_keys'::regclass AND claims.mode = 'RowExclusiveLock' AND NOT waits.granted
			  AND claims.database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == len(held)
	})

	// when they are repeated
	for i, got := range all()() {
		// then the repeats are refused with Retry-After
		if err := got.checkProblem(http.StatusConflict, "conflict", ""); err != nil || got.header.Get("Retry-After") == "" || got.json()["retryable"] != true {
			t.Errorf("%s: %v, Retry-After %q", held[i].id, err, got.header.Get("Retry-After"))
		}
	}

	// and the first requests succeed when they are unblocked
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := firsts()
	again := all()()
	for i, op := range held {
		if !done[i].isExecuted() {
			t.Errorf("%s: %d %s", op.id, done[i].status, done[i].body)
		}
		again[i].wantReplay(op, done[i])
	}
}
