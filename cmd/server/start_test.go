package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestTheFirstStartMakesAllThatIsNeeded(t *testing.T) {
	t.Parallel()
	// given a first start
	dir := newDir(t)
	first := serving(t, dir)
	if status := first.client("").status("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz says %d", status)
	}

	// then the printed line works, and the key is kept for nobody else to read
	checkTheLine(t, first)
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the key's file has the mode %s", info.Mode())
	}
	if kept, err := os.ReadFile(filepath.Join(dir, keyFile)); err != nil || string(kept) != first.key+"\n" {
		t.Errorf("another key is kept: %q, %v", kept, err)
	}
	asked := first.client(first.key)
	conversation := asked.start()
	message, _, err := asked.send(conversation, "Will you remember this?")
	if err != nil {
		t.Fatal(err)
	}
	first.stop()

	// and the second start has the same key and the same data
	second := serving(t, dir)
	if status := second.client("").status("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz says %d", status)
	}
	if second.key != first.key {
		t.Errorf("the second start announces the key %q, not %q", second.key, first.key)
	}
	checkTheLine(t, second)
	found := second.client(first.key).messages(conversation)
	if len(found) == 0 || found[0].ID != message.ID {
		t.Errorf("the message is gone: %+v", found)
	}
	second.stop()
}

var line = regexp.MustCompile(`(?m)^  curl -s (\S+) -H '([^:']+): ([^']+)' -H '([^:']+): ([^']+)' -d '([^']+)'$`)

// checkTheLine does what the printed line says.
func checkTheLine(t *testing.T, p *process) {
	t.Helper()
	parts := line.FindStringSubmatch(p.stdout.String())
	if parts == nil {
		t.Fatalf("there is no line to try:\n%s", p.stdout.String())
	}
	request, err := http.NewRequest(http.MethodPost, parts[1], strings.NewReader(parts[6]))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(parts[2], parts[3])
	request.Header.Set(parts[4], parts[5])
	answer, err := p.client("").http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("what the line asks is answered with %s", answer.Status)
	}
}

func TestTheBootstrapKeyIsTheAdmins(t *testing.T) {
	t.Parallel()
	const key, another = "boot.0123456789abcdef", "boot.fedcba9876543210"
	dir := newDir(t)
	first := serving(t, dir, "PARLEY_BOOTSTRAP_KEY="+key)
	if first.key != key {
		t.Errorf("the key %q is announced", first.key)
	}
	checkTheLine(t, first)
	if exists(filepath.Join(dir, keyFile)) {
		t.Error("a key that was given is kept in the data directory")
	}
	first.stop()

	// What comes too late is not announced: it opens nothing.
	second := serving(t, dir, "PARLEY_BOOTSTRAP_KEY="+another)
	if second.key != "" {
		t.Errorf("the key %q is announced", second.key)
	}
	second.client(another).call("GET", "/api/me/", nil, http.StatusUnauthorized, nil)
	second.client(key).call("GET", "/api/me/", nil, http.StatusOK, nil)
	second.stop()
}

func TestAFirstStartThatIsKilledIsMadeGoodByTheNext(t *testing.T) {
	t.Parallel()
	moments := map[string]func(*process) bool{
		"while the cluster is made":     func(p *process) bool { return exists(filepath.Join(p.dir, "postgres.new", "PG_VERSION")) },
		"when PostgreSQL is ready":      func(p *process) bool { return strings.Contains(p.stderr.String(), "postgres is ready") },
		"when the organization is made": func(p *process) bool { return count(p, "SELECT count(*) FROM organizations") > 0 },
		"when the bot is made":          func(p *process) bool { return count(p, "SELECT count(*) FROM bots") > 0 },
		"when the key is made":          func(p *process) bool { return count(p, "SELECT count(*) FROM api_keys") > 0 },
	}
	for name, hasCome := range moments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			first := launch(t, dir, nil)
			eventually(t, name, func() bool { return hasCome(first) })
			first.kill()
			second := serving(t, dir)
			checkTheLine(t, second)
			second.stop()
		})
	}
}

func TestAStartThatIsToldToStopStops(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := launch(t, dir, nil)
	eventually(t, "the making of the cluster", func() bool { return exists(filepath.Join(dir, "postgres.new")) })
	first.signal(syscall.SIGTERM)
	first.awaitEnd(patience)
	first.mustBeAlone()
	second := serving(t, dir)
	checkTheLine(t, second)
	second.stop()
}

func TestNothingIsStartedWithMistakes(t *testing.T) {
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
		t.Errorf("it ended with %d", code)
	}
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(stderr, "parley: "), "\n"), "\n")
	wanted := []string{
		"PARLEY_ADDR", "PARLEY_DEBUG_ADDR", "DATABASE_URL", "PARLEY_BOOTSTRAP_KEY", "PARLEY_SECRET_KEY", "PARLEY_POSTGRES_BIN",
		"PARLEY_ALLOWED_ORIGINS", "PARLEY_RATE_LIMITS", "PARLEY_LOG_LEVEL",
	}
	if len(lines) != len(wanted) {
		t.Fatalf("there are %d lines, not %d:\n%s", len(lines), len(wanted), stderr)
	}
	for i, variable := range wanted {
		if !strings.HasPrefix(lines[i], variable+": ") {
			t.Errorf("line %d is not about %s: %s", i+1, variable, lines[i])
		}
	}
	if strings.Contains(stderr, "hush") {
		t.Errorf("it tells a secret:\n%s", stderr)
	}
	if stdout != "" || exists(dir) {
		t.Errorf("something was started; it said %q", stdout)
	}
}

func TestAnAddressInUseIsToldBeforeAnythingStarts(t *testing.T) {
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
		t.Error("something was started")
	}
}

func TestADatabaseThatCannotBeReachedIsToldInOneLine(t *testing.T) {
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
			t.Errorf("it tells the password: %s", stderr)
		}
		if stdout != "" || exists(dir) {
			t.Errorf("something was started; it said %q", stdout)
		}
	}
}

// mustFail checks the end of a run that was refused: the code 1, and one line.
func mustFail(t *testing.T, stderr string, code int, parts ...string) {
	t.Helper()
	if code != 1 {
		t.Errorf("it ended with %d", code)
	}
	if !strings.HasPrefix(stderr, "parley: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("it does not say why in one line: %q", stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stderr, part) {
			t.Errorf("it does not say %q: %s", part, stderr)
		}
	}
}
