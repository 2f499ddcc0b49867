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

// parley is the path of the program, which TestMain builds.
var parley string

// TestMain builds the program and runs the tests. With loadVariable it is the body of the load process instead.
func TestMain(m *testing.M) {
	if file := os.Getenv(loadVariable); file != "" {
		if err := runLoad(os.Stdin, file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Most of these tests wait for leases and grace periods rather than for the CPU.
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

// sharedSecretKey is the default PARLEY_SECRET_KEY of servers with a DATABASE_URL.
const sharedSecretKey = "c2hhcmVkIGJ5IHRoZSBzZXJ2ZXJzIG9mIGEgdGVzdCE="

// testTimeout bounds the wait for an event that is expected soon.
const testTimeout = 30 * time.Second

// process is a run of the program.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	dir            string // the data directory
	base           string // its URL
	key            string // the printed admin key; empty if none
	stdout, stderr transcript
	ended          chan struct{}
	secrets        []string // must not be in the log
}

// transcript is the output of a process so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(output []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(output)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// launch starts the program with a data directory and environment variables, which override the defaults.
func launch(t *testing.T, dir string, environment []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, ended: make(chan struct{})}
	p.cmd = exec.Command(parley, args...)
	p.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"PARLEY_ADDR=127.0.0.1:0",
		"PARLEY_DATA_DIR=" + dir,
		"PARLEY_RATE_LIMITS=0",
	}
	if slices.ContainsFunc(environment, func(variable string) bool { return strings.HasPrefix(variable, "DATABASE_URL=") }) {
		// Servers on variable database share a secret key.
		p.cmd.Env = append(p.cmd.Env, "PARLEY_SECRET_KEY="+sharedSecretKey, "PARLEY_ANONYMOUS=on", "PARLEY_MODEL_NETWORKS=127.0.0.1")
		p.secrets = append(p.secrets, sharedSecretKey)
	}
	p.cmd.Env = append(p.cmd.Env, environment...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // ProcessState has the result
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has exited
		<-p.ended
		p.checkSecrets()
		if strings.Contains(p.stderr.String(), "DATA RACE") { // whatever its exit code
			t.Error("the race detector has reported a data race")
		}
		if t.Failed() {
			t.Logf("output of %s %v:\n%s%s", parley, args, p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

// serving starts a server and waits until it is ready.
func serving(t *testing.T, dir string, environment ...string) *process {
	t.Helper()
	p := launch(t, dir, environment)
	p.awaitReady()
	return p
}

var (
	announced    = regexp.MustCompile(`Parley is ready at (http://127\.0\.0\.1:\d+) `)
	announcedKey = regexp.MustCompile(`'Authorization: Api-Key (\S+)'`)
	keptKey      = regexp.MustCompile(`"Authorization: Api-Key \$\(cat '([^']+)'\)"`)
)

func (p *process) awaitReady() {
	p.t.Helper()
	eventually(p.t, "the server is ready", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("the server exited:\n%s", p.stderr.String())
		default:
		}
		return announced.MatchString(p.stdout.String())
	})
	p.base = announced.FindStringSubmatch(p.stdout.String())[1]
	if p.key = p.adminKey(); p.key != "" {
		p.secrets = append(p.secrets, secretOf(p.key))
	}
}

// adminKey returns the admin key that the printed command uses: as it is on the first start, later
// from where it is kept.
func (p *process) adminKey() string {
	p.t.Helper()
	output := p.stdout.String()
	if found := announcedKey.FindStringSubmatch(output); found != nil {
		return found[1]
	}
	if found := keptKey.FindStringSubmatch(output); found != nil {
		key, err := os.ReadFile(found[1])
		if err != nil {
			p.t.Fatal(err)
		}
		return strings.TrimSpace(string(key))
	}
	if strings.Contains(output, "$"+bootstrapVariable) {
		for _, variable := range p.cmd.Env {
			if key, ok := strings.CutPrefix(variable, bootstrapVariable+"="); ok {
				return key
			}
		}
	}
	return ""
}

const bootstrapVariable = "PARLEY_BOOTSTRAP_KEY"

func secretOf(key string) string {
	_, secret, _ := strings.Cut(key, ".")
	return secret
}

func (p *process) checkSecrets() {
	p.t.Helper()
	files, _ := filepath.Glob(filepath.Join(p.dir, "postgres.log")) // fails only for a malformed pattern
	output := p.stderr.String()
	for _, file := range files {
		content, _ := os.ReadFile(file) // may be deleted already
		output += string(content)
	}
	for _, secret := range p.secrets {
		if strings.Contains(output, secret) {
			p.t.Errorf("the log contains the secret %s", secret)
		}
	}
}

// awaitExit returns the exit code, or -1 after a signal.
func (p *process) awaitExit(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("still running after %s", limit)
		return 0
	}
}

func (p *process) signal(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// stop shuts the server down with SIGTERM.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.awaitExit(testTimeout); code != 0 {
		p.t.Fatalf("exit code %d", code)
	}
	p.expectNoProcesses()
}

// kill kills the server with SIGKILL. Its PostgreSQL exits by itself.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.awaitExit(testTimeout)
	eventually(p.t, "PostgreSQL has exited after the server", func() bool { return len(processesOf(p.dir)) == 0 })
}

// killAll kills the server and all processes of its PostgreSQL.
func (p *process) killAll() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	for _, proc := range processesOf(p.dir) {
		var pid int
		if _, err := fmt.Sscanf(proc, "/proc/%d", &pid); err != nil {
			p.t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // fails if it has exited
	}
	p.awaitExit(testTimeout)
	eventually(p.t, "PostgreSQL has exited", func() bool { return len(processesOf(p.dir)) == 0 })
}

// expectNoProcesses checks that no process of the data directory is left.
func (p *process) expectNoProcesses() {
	p.t.Helper()
	if left := processesOf(p.dir); len(left) > 0 {
		p.t.Errorf("processes left: %v", left)
	}
}

// processesOf lists the processes with a directory in their command line or as their working directory.
func processesOf(dir string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*") // fails only for a malformed pattern
	for _, proc := range all {
		// A process that cannot be read has exited or belongs to another user.
		line, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		at, _ := os.Readlink(filepath.Join(proc, "cwd"))
		if bytes.Contains(line, []byte(dir+"/")) || strings.HasPrefix(at, dir+"/") {
			found = append(found, fmt.Sprintf("%s %q", proc, line))
		}
	}
	return found
}

// newDir creates a data directory that PostgreSQL can access, which root runs as another user.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "parley-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "all processes of the data directory have exited", func() bool { return len(processesOf(dir)) == 0 })
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newDatabase starts a PostgreSQL that servers share, and returns its URL.
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

// runCommand runs the program until it exits.
func runCommand(t *testing.T, dir string, environment []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	p := launch(t, dir, environment, args...)
	code = p.awaitExit(testTimeout)
	return p.stdout.String(), p.stderr.String(), code
}

// eventually polls until a condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	within(t, testTimeout, what, condition)
}

func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// exists reports whether a file exists.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}
