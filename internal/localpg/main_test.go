//go:build unix

package localpg_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/localpg"
)

// programDir is an environment variable that turns the test binary into a program. The program starts a server in the
// named directory, prints its PID and URL, and runs until it is killed or its standard input ends.
const programDir = "LOCALPG_TEST_PROGRAM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(programDir); dir != "" {
		os.Exit(program(dir))
	}
	os.Exit(m.Run())
}

func program(dir string) int {
	ctx := context.Background()
	s, err := localpg.Start(ctx, localpg.Config{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(s.Pid(), s.URL("postgres"))
	bufio.NewScanner(os.Stdin).Scan()
	if err := s.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// childProgram is another process that runs a server.
type childProgram struct {
	cmd *exec.Cmd
	pid int
	url string
}

// startProgram runs a child process whose server uses dir.
func startProgram(t *testing.T, dir string) childProgram {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), programDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	p := childProgram{cmd: cmd}
	if _, err := fmt.Fscan(stdout, &p.pid, &p.url); err != nil {
		t.Fatalf("the child program printed nothing: %v", err)
	}
	return p
}

// kill kills the program, which cannot stop its server.
func (p childProgram) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Wait()
}

// newDir creates a directory that other users can enter, because a server started by root runs as another user.
// t.TempDir does not guarantee that.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "localpg-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts a durable server and stops it at the end of the test.
func start(t *testing.T, dir string) *localpg.Server {
	t.Helper()
	s, err := localpg.Start(t.Context(), localpg.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *localpg.Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func mustFail(t *testing.T, cfg localpg.Config, want ...string) error {
	t.Helper()
	s, err := localpg.Start(t.Context(), cfg)
	if err == nil {
		stop(t, s)
		t.Fatal("Start succeeded")
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not contain %q: %v", part, err)
		}
	}
	return err
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn := connect(t, url)
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	var value string
	if err := connect(t, url).QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func socketDir(t *testing.T, url string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Host
}

// startSleeper starts a process in workDir that is not a server but has the cluster's user, and returns its PID.
func startSleeper(t *testing.T, cluster, workDir string) int {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Dir = workDir
	if os.Geteuid() == 0 {
		info, err := os.Stat(cluster)
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// leavePidFile stops the server and restores its PID file as if it had been killed, with the PID of another process.
func leavePidFile(t *testing.T, s *localpg.Server, cluster string, pid func() int) {
	t.Helper()
	path := filepath.Join(cluster, "postmaster.pid")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	_, rest, _ := strings.Cut(string(content), "\n")
	if err := os.WriteFile(path, []byte(strconv.Itoa(pid())+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// hasEnded reports whether no process with this PID runs. A zombie has no command line.
func hasEnded(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || len(line) == 0
}
