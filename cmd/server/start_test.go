package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestFirstStartBootstraps(t *testing.T) {
	t.Parallel()
	// given: a first start
	dir := newDir(t)
	first := serving(t, dir)
	if status := first.client("").status("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}

	// then: the printed command works, and only the owner can read the stored key
	runPrintedCommand(t, first)
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the mode of the key file is %s", info.Mode())
	}
	if kept, err := os.ReadFile(filepath.Join(dir, keyFile)); err != nil || string(kept) != first.key+"\n" {
		t.Errorf("the key file has %q, %v", kept, err)
	}
	api := first.client(first.key)
	conversation := api.start()
	message, _, err := api.send(conversation, "Will you remember this?")
	if err != nil {
		t.Fatal(err)
	}
	first.stop()

	// and: the second start has the same key and data
	second := serving(t, dir)
	if status := second.client("").status("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	if second.key != first.key {
		t.Errorf("the second start uses the key %q, want %q", second.key, first.key)
	}
	if output := second.stdout.String(); strings.Contains(output, secretOf(first.key)) {
		t.Errorf("the second start printed the admin key:\n%s", output)
	}
	runPrintedCommand(t, second)
	found := second.client(first.key).messages(conversation)
	if len(found) == 0 || found[0].ID != message.ID {
		t.Errorf("the message is lost: %+v", found)
	}
	second.stop()
}

var printedCommand = regexp.MustCompile(`(?m)^  (curl -s .*)$`)

// runPrintedCommand runs the printed command in a shell.
func runPrintedCommand(t *testing.T, p *process) {
	t.Helper()
	command := printedCommand.FindStringSubmatch(p.stdout.String())
	if command == nil {
		t.Fatalf("no curl command in:\n%s", p.stdout.String())
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", command[1])
	shell.Env = p.cmd.Env
	output, err := shell.CombinedOutput()
	if err != nil || !strings.Contains(string(output), `"done":true`) {
		t.Errorf("the printed command %s: %v\n%s", command[1], err, output)
	}
}

func TestBootstrapKeyBecomesAdminKey(t *testing.T) {
	t.Parallel()
	const key, another = "boot.0123456789abcdef", "boot.fedcba9876543210"
	dir := newDir(t)
	first := serving(t, dir, "PARLEY_BOOTSTRAP_KEY="+key)
	if first.key != key {
		t.Errorf("the printed command uses the key %q", first.key)
	}
	if output := first.stdout.String(); strings.Contains(output, secretOf(key)) {
		t.Errorf("the configured key was printed:\n%s", output)
	}
	runPrintedCommand(t, first)
	if exists(filepath.Join(dir, keyFile)) {
		t.Error("the configured key was stored in the data directory")
	}
	first.stop()

	// A different key on a later start is not valid, and not printed.
	second := serving(t, dir, "PARLEY_BOOTSTRAP_KEY="+another)
	if second.key != "" {
		t.Errorf("the printed command uses the key %q", second.key)
	}
	eventually(t, "the log says that the key is ignored", func() bool { return strings.Contains(second.stderr.String(), "ignore PARLEY_BOOTSTRAP_KEY") })
	second.client(another).call("GET", "/api/me/", nil, http.StatusUnauthorized, nil)
	second.client(key).call("GET", "/api/me/", nil, http.StatusOK, nil)
	second.stop()
}

func TestKilledFirstStartIsRepeated(t *testing.T) {
	t.Parallel()
	moments := map[string]func(*process) bool{
		"during initdb":                    func(p *process) bool { return exists(filepath.Join(p.dir, "postgres.new", "PG_VERSION")) },
		"when PostgreSQL is ready":         func(p *process) bool { return strings.Contains(p.stderr.String(), "start postgres: ready") },
		"when the organization is created": func(p *process) bool { return count(p, "SELECT count(*) FROM organizations") > 0 },
		"when the chatbot is created":      func(p *process) bool { return count(p, "SELECT count(*) FROM bots") > 0 },
		"when the key is created":          func(p *process) bool { return count(p, "SELECT count(*) FROM api_keys") > 0 },
	}
	for name, reached := range moments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			first := launch(t, dir, nil)
			eventually(t, name, func() bool { return reached(first) })
			first.kill()
			second := serving(t, dir)
			runPrintedCommand(t, second)
			second.stop()
		})
	}
}

func TestSIGTERMDuringStartStops(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := launch(t, dir, nil)
	eventually(t, "initdb has started", func() bool { return exists(filepath.Join(dir, "postgres.new")) })
	first.signal(syscall.SIGTERM)
	first.awaitExit(testTimeout)
	first.expectNoProcesses()
	second := serving(t, dir)
	runPrintedCommand(t, second)
	second.stop()
}

func TestInvalidConfigurationStartsNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "data")
	stdout, stderr, code := runCommand(t, dir, []string{
		"PARLEY_ADDR=nowhere",
		"PARLEY_DEBUG_ADDR=:6060",
		"DATABASE_URL=postgres://u:hushhush@db:none/",
		"PARLEY_BOOTSTRAP_KEY=hushhushhushhush",
		"PARLEY_SECRET_KEY=hushhushhushhush",
		"PARLEY_POSTGRES_BIN=/nowhere",
		"PARLEY_ALLOWED_ORIGINS=here",
		"PARLEY_RATE_LIMITS=list=-1",
		"PARLEY_LOG_LEVEL=loud",
	})
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(stderr, "parley: "), "\n"), "\n")
	wanted := []string{
		"PARLEY_ADDR", "PARLEY_DEBUG_ADDR", "DATABASE_URL", "PARLEY_BOOTSTRAP_KEY", "PARLEY_SECRET_KEY", "PARLEY_POSTGRES_BIN",
		"PARLEY_ALLOWED_ORIGINS", "PARLEY_RATE_LIMITS", "PARLEY_LOG_LEVEL",
	}
	if len(lines) != len(wanted) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(wanted), stderr)
	}
	for i, variable := range wanted {
		if !strings.HasPrefix(lines[i], variable+": ") {
			t.Errorf("line %d must be about %s: %s", i+1, variable, lines[i])
		}
	}
	if strings.Contains(stderr, "hush") {
		t.Errorf("the error contains a secret:\n%s", stderr)
	}
	if stdout != "" || exists(dir) {
		t.Errorf("the failed start created a data directory or printed %q", stdout)
	}
}

func TestAddressInUseFailsBeforeStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(newDir(t), "data")
	_, stderr, code := runCommand(t, dir, []string{"PARLEY_ADDR=" + taken.Addr().String()})
	mustFail(t, stderr, code, "PARLEY_ADDR", taken.Addr().String(), "in use")
	if exists(dir) {
		t.Error("the failed start created a data directory")
	}
}

func TestUnreachableDatabaseIsReportedInOneLine(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	address := fmt.Sprintf("postgres://u:hushhush@127.0.0.1:%d/parley", port)
	dir := filepath.Join(newDir(t), "data")
	for _, args := range [][]string{nil, {"org", "list"}, {"org", "create", "Second"}} {
		stdout, stderr, code := runCommand(t, dir, []string{"DATABASE_URL=" + address}, args...)
		mustFail(t, stderr, code, "database", fmt.Sprintf("127.0.0.1:%d", port))
		if strings.Contains(stderr, "hush") {
			t.Errorf("the error contains the password: %s", stderr)
		}
		if stdout != "" || exists(dir) {
			t.Errorf("the failed start created a data directory or printed %q", stdout)
		}
	}
}

// mustFail checks that a command has failed with the exit code 1 and one line that contains the parts.
func mustFail(t *testing.T, stderr string, code int, parts ...string) {
	t.Helper()
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.HasPrefix(stderr, "parley: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr is not one line: %q", stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stderr, part) {
			t.Errorf("stderr does not contain %q: %s", part, stderr)
		}
	}
}
