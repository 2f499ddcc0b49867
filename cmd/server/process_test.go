package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parley/internal/localpg"
)

// parley is the program, built by TestMain.
var parley string

// TestMain builds the program that the tests of the whole process run. As the process
// that puts a server under load it does only that.
func TestMain(m *testing.M) {
	if file := os.Getenv(loadVariable); file != "" {
		if err := bearLoad(os.Stdin, file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Most of these tests wait, for a lease or a grace to be over.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "parley-build-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	parley = filepath.Join(dir, "parley")
	args := []string{"build", "-buildvcs=false", "-o", parley}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// sharedSecretKey is what servers with a DATABASE_URL get as PARLEY_SECRET_KEY where a test does not give another one.
const sharedSecretKey = "c2hhcmVkIGJ5IHRoZSBzZXJ2ZXJzIG9mIGEgdGVzdCE="

// patience bounds every wait for what is to happen soon.
const patience = 30 * time.Second

// process is a run of the program.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	dir            string // the data directory
	base           string // where it serves
	key            string // as it was announced; empty when none was
	stdout, stderr transcript
	ended          chan struct{}
	secrets        []string // what its log must not tell
}

// transcript is what a process has said so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(said []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(said)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// launch starts the program with a data directory and further variables, which win.
func launch(t *testing.T, dir string, environment []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, ended: make(chan struct{})}
	p.cmd = exec.Command(parley, args...)
	p.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"PARLEY_ADDR=127.0.0.1:0",
		"PARLEY_DATA_DIR=" + dir,
		"PARLEY_RATE_LIMITS=messages=0,history=0,list=0",
	}
	if slices.ContainsFunc(environment, func(one string) bool { return strings.HasPrefix(one, "DATABASE_URL=") }) {
		// Servers of one database have one key.
		p.cmd.Env = append(p.cmd.Env, "PARLEY_SECRET_KEY="+sharedSecretKey)
		p.secrets = append(p.secrets, sharedSecretKey)
	}
	p.cmd.Env = append(p.cmd.Env, environment...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in its ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails when it has ended
		<-p.ended
		p.checkSecrets()
		if strings.Contains(p.stderr.String(), "DATA RACE") { // whatever it ended by
			t.Error("there was a data race")
		}
		if t.Failed() {
			t.Logf("%s %v said:\n%s%s", parley, args, p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

// serving starts a server and waits until it has announced itself.
func serving(t *testing.T, dir string, environment ...string) *process {
	t.Helper()
	p := launch(t, dir, environment)
	p.awaitReady()
	return p
}

var (
	announced    = regexp.MustCompile(`Parley is ready at (http://127\.0\.0\.1:\d+) `)
	announcedKey = regexp.MustCompile(`Authorization: Api-Key (\S+)'`)
)

func (p *process) awaitReady() {
	p.t.Helper()
	eventually(p.t, "the announcement", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("it ended instead of serving:\n%s", p.stderr.String())
		default:
		}
		return announced.MatchString(p.stdout.String())
	})
	p.base = announced.FindStringSubmatch(p.stdout.String())[1]
	if found := announcedKey.FindStringSubmatch(p.stdout.String()); found != nil {
		p.key = found[1]
		p.secrets = append(p.secrets, secretOf(p.key))
	}
}

func secretOf(key string) string {
	_, secret, _ := strings.Cut(key, ".")
	return secret
}

func (p *process) checkSecrets() {
	p.t.Helper()
	files, _ := filepath.Glob(filepath.Join(p.dir, "postgres.log")) // its only error is a malformed pattern
	said := p.stderr.String()
	for _, file := range files {
		content, _ := os.ReadFile(file) // may be gone with its directory
		said += string(content)
	}
	for _, secret := range p.secrets {
		if strings.Contains(said, secret) {
			p.t.Errorf("the log tells the secret %s", secret)
		}
	}
}

// awaitEnd returns the exit code, -1 after a signal.
func (p *process) awaitEnd(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("it has not ended after %s", limit)
		return 0
	}
}

func (p *process) signal(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends it in the ordinary way.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.awaitEnd(patience); code != 0 {
		p.t.Fatalf("it ended with %d", code)
	}
	p.mustBeAlone()
}

// kill is the end that leaves it no chance to put anything in order.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.awaitEnd(patience)
	eventually(p.t, "the end of PostgreSQL after that of the server", func() bool { return len(processesOf(p.dir)) == 0 })
}

// killAll is kill, and the same to all processes of its PostgreSQL.
func (p *process) killAll() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	for _, one := range processesOf(p.dir) {
		var pid int
		if _, err := fmt.Sscanf(one, "/proc/%d", &pid); err != nil {
			p.t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // fails when it has ended
	}
	p.awaitEnd(patience)
	eventually(p.t, "the end of PostgreSQL with the server", func() bool { return len(processesOf(p.dir)) == 0 })
}

// mustBeAlone checks that nothing outlived it.
func (p *process) mustBeAlone() {
	p.t.Helper()
	if left := processesOf(p.dir); len(left) > 0 {
		p.t.Errorf("it left processes behind: %v", left)
	}
}

// processesOf lists the processes that name a directory or work in it: PostgreSQL's.
func processesOf(dir string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*") // its only error is a malformed pattern
	for _, one := range all {
		// Whatever cannot be read has ended, or is somebody else's.
		line, _ := os.ReadFile(filepath.Join(one, "cmdline"))
		at, _ := os.Readlink(filepath.Join(one, "cwd"))
		if bytes.Contains(line, []byte(dir+"/")) || strings.HasPrefix(at, dir+"/") {
			found = append(found, fmt.Sprintf("%s %q", one, line))
		}
	}
	return found
}

// newDir makes a data directory that PostgreSQL, which root runs as another user,
// can get into.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "parley-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the end of all that runs in the data directory", func() bool { return len(processesOf(dir)) == 0 })
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newDatabase starts a PostgreSQL for servers that share one, and returns its address.
func newDatabase(t *testing.T) string {
	t.Helper()
	postgres, err := localpg.Start(t.Context(), localpg.Config{Dir: newDir(t), Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return postgres.URL("postgres")
}

// runCommand runs the program to its end.
func runCommand(t *testing.T, dir string, environment []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	p := launch(t, dir, environment, args...)
	code = p.awaitEnd(patience)
	return p.stdout.String(), p.stderr.String(), code
}

// eventually polls for what no event tells.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// exists tells whether there is a file.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
