package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
	"parley/internal/localpg"
)

// serveWithOwnPostgres starts a server with its own PostgreSQL, and returns a function that stops PostgreSQL.
func serveWithOwnPostgres(t *testing.T) (*server, func()) {
	t.Helper()
	dir := must(os.MkdirTemp("/tmp", "parley-test-")) // PostgreSQL requires a short path, and its user must have access
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	postgres, err := localpg.Start(t.Context(), localpg.Config{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = postgres.Stop(context.WithoutCancel(t.Context())) } // may be called twice
	t.Cleanup(stop)
	return serveWith(t, settings{database: postgres.URL("postgres"), connections: 4}), stop
}

// Without the database, every secured operation is 503 with Retry-After. Public operations do not need the database.
func TestOperationsAnswer503WithoutTheDatabase(t *testing.T) {
	t.Parallel()
	s, stop := serveWithOwnPostgres(t)
	admin := s.organization().as("admin", auth.Admin)
	resources := admin.createResources()
	stop()
	eventually(t, "the cached key has expired", func() bool {
		return admin.call(http.MethodGet, "/api/me/", nil).status == http.StatusServiceUnavailable
	})
	for _, op := range operations {
		got := op.send(admin, op.target(resources, ""), op.validBody(resources))
		if !op.isSecured {
			if got.status != http.StatusOK {
				t.Errorf("%s: %d %s", op.id, got.status, got.body)
			}
			continue
		}
		if err := got.checkProblem(http.StatusServiceUnavailable, "unavailable", ""); err != nil || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v, Retry-After %q", op.id, err, got.header.Get("Retry-After"))
		}
	}
	s.call(http.MethodGet, "/ws", nil, upgrade).wantProblem(503, "unavailable", "")
}

// The response to an unexpected error exposes nothing of the cause. The log has the cause with the request ID.
func TestCausesOfInternalErrorsAreOnlyLogged(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	s := serveWith(t, settings{log: &log})
	s.expectFailures()
	admin := s.organization().as("admin", auth.Admin)
	resources := admin.createResources()
	admin.awaitReplies()
	// Authentication needs the first tables. They are renamed last, so that both authentication and the operations
	// themselves fail.
	first := []string{"organizations", "users", "api_keys"}
	met := map[string]bool{}
	for stage, which := range []string{"NOT tablename = ANY($1)", "tablename = ANY($1)"} {
		isLast := stage == 1
		for _, table := range query[[]string](s, "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version' AND "+which, first) {
			s.exec(fmt.Sprintf("ALTER TABLE %s RENAME TO %s", table, table+"_gone"))
		}
		for _, op := range operations {
			got := op.send(admin, op.target(resources, ""), op.validBody(resources))
			// A cached key remains valid for a moment after its table is renamed.
			for end := time.Now().Add(10 * time.Second); isLast && op.isSecured && got.status < 500 && time.Now().Before(end); {
				got = op.send(admin, op.target(resources, ""), op.validBody(resources))
			}
			if got.status < 500 {
				continue
			}
			if err := got.checkProblem(http.StatusInternalServerError, "internal", ""); err != nil {
				t.Errorf("%s: %v", op.id, err)
			}
			met[op.id] = true
			if !strings.Contains(log.String(), got.header.Get("X-Request-Id")) {
				t.Errorf("%s: the log does not contain the request ID of %s", op.id, got.body)
			}
		}
	}
	for _, op := range operations {
		if op.isSecured != met[op.id] {
			t.Errorf("%s: got an internal error: %t", op.id, met[op.id])
		}
	}
}

// A completion without a stream ends at the reply timeout. The problem names the run, which continues.
func TestCompletionTimeoutLeavesTheRunInProgress(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{replyTimeout: 300 * time.Millisecond}).organization()
	o.expectFailures()
	alice := o.as("alice", auth.Chat)
	release := o.blockReplies()
	got := alice.call(http.MethodPost, completions, completionBody(question, false))
	problem := got.wantProblem(http.StatusGatewayTimeout, "timeout", "")
	asked := object{"model": "parley", "messages": []object{{"role": "user", "content": question}}}
	alice.call(http.MethodPost, "/v1/chat/completions", asked).wantProblem(http.StatusGatewayTimeout, "timeout", "")
	release()
	run := query[string](o.server, "SELECT id::text FROM runs")
	if !strings.Contains(text(problem, "detail"), run) || problem["retryable"] != true {
		t.Errorf("%v does not name the run %s", problem, run)
	}
	if done := alice.awaitRun(run); done["state"] != "completed" {
		t.Errorf("the run: %v", done)
	}
}
