package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/localpg"
)

var printedKey = regexp.MustCompile(`(?m)^admin key (\S+)$`)

type me struct {
	Organization struct{ ID, Name string }
}

func TestOrganizationsAreIsolated(t *testing.T) {
	t.Parallel()
	// given: a server and a conversation
	database := "DATABASE_URL=" + newDatabase(t)
	dir := newDir(t)
	server := serving(t, dir, database)
	first := server.client(server.key)
	conversation := first.start()

	// when: another organization is created
	stdout, stderr, code := runCommand(t, dir, []string{database}, "org", "create", "Second & Söhne 第二")
	key := printedKey.FindStringSubmatch(stdout)
	if code != 0 || key == nil || stderr != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}

	// then: its key works, and cannot see data of the first one
	second := server.client(key[1])
	var theirs, ours me
	second.call("GET", "/api/me/", nil, http.StatusOK, &theirs)
	first.call("GET", "/api/me/", nil, http.StatusOK, &ours)
	if theirs.Organization.Name != "Second & Söhne 第二" || theirs.Organization.ID == ours.Organization.ID {
		t.Errorf("the organizations are %+v and %+v", theirs, ours)
	}
	second.call("GET", "/api/conversations/"+conversation+"/history", nil, http.StatusNotFound, nil)
	second.call("POST", "/api/conversations/"+conversation+"/messages", object{"content": "x"}, http.StatusNotFound, nil)
	first.call("GET", "/api/conversations/"+second.start()+"/history", nil, http.StatusNotFound, nil)
	second.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "What is Parley?"}}, http.StatusOK, nil)

	// and: names are unique
	_, stderr, code = runCommand(t, dir, []string{database}, "org", "create", "Second & Söhne 第二")
	mustFail(t, stderr, code, "Second & Söhne 第二")
	_, stderr, code = runCommand(t, dir, []string{database}, "org", "create", "  ")
	mustFail(t, stderr, code, "name")
	stdout, _, code = runCommand(t, dir, []string{database}, "org", "list")
	if code != 0 || strings.Count(stdout, "\n") != 2 ||
		!strings.Contains(stdout, ours.Organization.ID) || !strings.Contains(stdout, theirs.Organization.ID) {
		t.Errorf("org list: exit code %d: %q", code, stdout)
	}
	server.stop()
}

func TestOrgCommandUsesDatabaseOfRunningServer(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server := serving(t, dir)
	stdout, stderr, code := runCommand(t, dir, nil, "org", "create", "Second")
	key := printedKey.FindStringSubmatch(stdout)
	if code != 0 || key == nil {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	server.client(key[1]).call("GET", "/api/me/", nil, http.StatusOK, nil)
	server.stop()
	// Without a running server, the command starts and stops the database itself.
	stdout, _, code = runCommand(t, dir, nil, "org", "list")
	if code != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("org list: exit code %d: %q", code, stdout)
	}
	server.expectNoProcesses()
}

func TestDataDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server := serving(t, dir)
	_, stderr, code := runCommand(t, dir, nil)
	mustFail(t, stderr, code, dir, "in use by another program")
	if status := server.client("").status("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz of the first server: %d", status)
	}
	server.stop()
}

func TestUnknownCommandPrintsUsage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "data")
	for _, args := range [][]string{{"frobnicate"}, {"org"}, {"org", "create"}, {"org", "list", "all"}, {"org", "delete", "x"}} {
		stdout, stderr, code := runCommand(t, dir, nil, args...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "unknown command") || !strings.Contains(stderr, usage) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	if exists(dir) {
		t.Error("the failed command created a data directory")
	}
}

func TestConcurrentFirstStartsCreateOneOrganization(t *testing.T) {
	t.Parallel()
	database := "DATABASE_URL=" + newDatabase(t)
	all := []*process{launch(t, newDir(t), []string{database}), launch(t, newDir(t), []string{database})}
	keys := 0
	for _, server := range all {
		server.awaitReady()
		if server.key != "" {
			keys++
		}
	}
	if keys != 1 {
		t.Errorf("%d servers printed a key, want 1", keys)
	}
	for _, server := range all {
		for _, owner := range all {
			if owner.key != "" {
				server.client(owner.key).call("POST", "/api/chatbots/parley/completions/",
					object{"message": object{"content": "What is Parley?"}}, http.StatusOK, nil)
			}
		}
	}
	stdout, _, code := runCommand(t, newDir(t), []string{database}, "org", "list")
	if code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Errorf("org list: exit code %d: %q", code, stdout)
	}
	for _, server := range all {
		server.stop()
	}
}

// connect connects to the private PostgreSQL of a server.
func connect(t *testing.T, p *process) *pgx.Conn {
	t.Helper()
	address, ok := localpg.Running(p.dir, "postgres")
	if !ok {
		t.Fatal("the private PostgreSQL is not running")
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) }) // may be broken already
	return conn
}

// count queries the private PostgreSQL of a server, or returns 0 if it is not ready.
func count(p *process, sql string) (n int) {
	address, ok := localpg.Running(p.dir, "postgres")
	if !ok {
		return 0
	}
	conn, err := pgx.Connect(p.t.Context(), address)
	if err != nil {
		return 0
	}
	defer conn.Close(p.t.Context())
	if err := conn.QueryRow(p.t.Context(), sql).Scan(&n); err != nil {
		return 0
	}
	return n
}

// number queries a number.
func number(t *testing.T, conn *pgx.Conn, sql string, args ...any) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// postmaster returns the process id of a server's private PostgreSQL.
func postmaster(t *testing.T, p *process) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(p.dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(content), "\n")
	return pid
}
