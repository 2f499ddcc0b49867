package dbtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/dbtest"
)

// otherRun makes TestOtherRun do its part of TestAKilledRunLeavesNothing.
const otherRun = "DBTEST_OTHER_RUN"

func TestAKilledRunLeavesNothing(t *testing.T) {
	t.Parallel()
	// given a run that is killed while its server runs
	killed := startRun(t)
	dir := filepath.Dir(killed.socketDir(t))
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()

	// when another run starts a server
	startRun(t)

	// then the directory of the first one is gone
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

// TestOtherRun is the run that TestAKilledRunLeavesNothing kills: it opens a
// database, prints its address and waits for the end of its input.
func TestOtherRun(t *testing.T) {
	t.Parallel()
	if os.Getenv(otherRun) == "" {
		return
	}
	fmt.Println(dbtest.URL(t))
	bufio.NewScanner(os.Stdin).Scan()
}

type run struct {
	cmd *exec.Cmd
	url string
}

func startRun(t *testing.T) run {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestOtherRun$")
	cmd.Env = append(os.Environ(), otherRun+"=yes")
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
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	r := run{cmd: cmd}
	if _, err := fmt.Fscan(stdout, &r.url); err != nil {
		t.Fatalf("the other run said nothing: %v", err)
	}
	return r
}

func (r run) socketDir(t *testing.T) string {
	t.Helper()
	config, err := pgx.ParseConfig(r.url)
	if err != nil {
		t.Fatal(err)
	}
	return config.Host
}
