package main

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3/lock"

	"parley/internal/localpg"
)

var startsAt = regexp.MustCompile(`"msg":"start server","address":"([^"]+)"`)

// readyz returns the status of /readyz. Only a 503 may have a Retry-After header.
func (c client) readyz() int {
	c.t.Helper()
	answer, err := c.open("GET", "/readyz", nil)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if isReady := answer.StatusCode == http.StatusOK; isReady == (answer.Header.Get("Retry-After") != "") {
		c.t.Errorf("/readyz answers %s with %v", answer.Status, answer.Header)
	}
	return answer.StatusCode
}

func TestReadyzFollowsDatabase(t *testing.T) {
	t.Parallel()
	// given: a server that waits for another instance's migration
	dir := newDir(t)
	postgres := startPostgres(t, dir)
	finishMigration := holdMigration(t, postgres)
	server, api := launchBeforeMigration(t, dir)

	// then: it is alive but not ready until the migration has finished
	if status := api.readyz(); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d during the migration", status)
	}
	api.mustBeUnavailable("during the migration")
	finishMigration()
	api.mustBecomeReady("after the migration")

	// when: PostgreSQL is read-only, like a standby
	const disconnect = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
	executeSQL(t, postgres, "ALTER DATABASE postgres SET default_transaction_read_only = on", disconnect)
	api.mustBeUnavailable("with a read-only database")
	executeSQL(t, postgres, "SET default_transaction_read_only = off", "ALTER DATABASE postgres RESET default_transaction_read_only")
	api.mustBecomeReady("with a writable database")

	// when: PostgreSQL is down
	if err := postgres.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	api.mustBeUnavailable("without PostgreSQL")
	startPostgres(t, dir)
	api.mustBecomeReady("after the restart of PostgreSQL")
	server.stop()
}

// holdMigration takes the lock of migrations until finish is called.
func holdMigration(t *testing.T, postgres *localpg.Server) (finish func()) {
	t.Helper()
	migrating, err := pgx.Connect(t.Context(), postgres.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = migrating.Close(context.WithoutCancel(t.Context())) }) // may be closed already
	if _, err := migrating.Exec(t.Context(), "SELECT pg_advisory_lock($1)", lock.DefaultLockID); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := migrating.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// launchBeforeMigration starts a server and waits until it listens. Its PostgreSQL has its socket in dir.
func launchBeforeMigration(t *testing.T, dir string) (*process, client) {
	t.Helper()
	const key = "boot.0123456789abcdef"
	server := launch(t, newDir(t), []string{
		"DATABASE_URL=postgres://parley@/postgres?host=" + url.QueryEscape(filepath.Join(dir, "postgres.socket")),
		"PARLEY_BOOTSTRAP_KEY=" + key,
		"PARLEY_LOG_LEVEL=debug",
	})
	eventually(t, "the server listens", func() bool { return startsAt.MatchString(server.stderr.String()) })
	return server, newClient(t, "http://"+startsAt.FindStringSubmatch(server.stderr.String())[1], key, 0)
}

// executeSQL executes SQL statements on one connection.
func executeSQL(t *testing.T, postgres *localpg.Server, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgres.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// mustBeUnavailable waits until the server is not ready. It must still be alive, and its API must answer 503.
func (c client) mustBeUnavailable(when string) {
	c.t.Helper()
	eventually(c.t, "/readyz answers 503 "+when, func() bool { return c.readyz() == http.StatusServiceUnavailable })
	var problem struct {
		Error     string
		RequestID string `json:"request_id"`
		Retryable bool
	}
	c.call("POST", "/api/conversations/start", object{"initial_message": "Hello"}, http.StatusServiceUnavailable, &problem)
	if problem.Error != "unavailable" || problem.RequestID == "" || !problem.Retryable {
		c.t.Errorf("problem %s: %+v", when, problem)
	}
	if status := c.status("/healthz"); status != http.StatusOK {
		c.t.Errorf("/healthz %s: %d, but a restart would not help", when, status)
	}
}

// mustBecomeReady waits until the server is ready, and creates a conversation.
func (c client) mustBecomeReady(when string) {
	c.t.Helper()
	eventually(c.t, "/readyz answers 200 "+when, func() bool { return c.readyz() == http.StatusOK })
	c.call("POST", "/api/conversations/start", object{"initial_message": "Hello"}, http.StatusCreated, nil)
}

func TestDrainingServerStillServes(t *testing.T) {
	t.Parallel()
	// given: a server with a drain time and a socket, whose trace collector is unreachable
	server := serving(t, newDir(t), "PARLEY_DRAIN=4s", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT=200")
	api := server.client(server.key)
	conversation := api.start()
	api.call("PATCH", "/api/conversations/"+conversation+"/", object{"autoReplyEnabled": false}, http.StatusOK, nil)
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(server.base, "http", "ws", 1)+"/ws?session_id="+conversation,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Api-Key " + server.key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	next := func() (frame chaosFrame) {
		t.Helper()
		if err := wsjson.Read(t.Context(), socket, &frame); err != nil {
			t.Fatal(err)
		}
		return frame
	}
	if greeting := next(); greeting.Status != "connected" {
		t.Errorf("the first frame is %+v", greeting)
	}

	// when: it is stopped
	server.signal(syscall.SIGTERM)

	// then: /readyz answers 503, and other requests are still served, each as the last one on its connection
	eventually(t, "/readyz answers 503", func() bool { return api.readyz() == http.StatusServiceUnavailable })
	if status := api.status("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	late := server.client(server.key) // without an open connection
	answer, err := late.open("POST", "/api/conversations/"+conversation+"/messages", object{"content": "Late"})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated || !answer.Close {
		t.Errorf("message while draining: %s, connection closed: %t", answer.Status, answer.Close)
	}
	if frame := next(); frame.Type != "message" || frame.Seq != 1 {
		t.Errorf("frame %+v", frame)
	}

	// and: sockets are closed after the drain time
	if frame := next(); frame.Status != "closing" {
		t.Errorf("frame %+v", frame)
	}
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the socket was closed with %v", err)
	}
	if code := server.awaitExit(testTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
	server.expectNoProcesses()
	if !strings.Contains(server.stderr.String(), "export traces") {
		t.Error("the log does not report the unreachable collector")
	}
}
