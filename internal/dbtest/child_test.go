package dbtest_test

import (
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

// childVariable makes the test binary run as a child process instead of running tests.
const childVariable = "DBTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		dbtest.Main(m)
		return
	}
	if err := dbtest.RunChild(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestDirectoryOfAKilledProcessIsRemoved(t *testing.T) {
	t.Parallel()
	// given a process that is killed while its server runs
	killed := startChild(t)
	dir := filepath.Dir(killed.socketDir(t))
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()

	// when another process starts a server
	startChild(t)

	// then the directory of the first one is gone
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s still exists: %v", dir, err)
	}
}

type child struct {
	cmd *exec.Cmd
	url string
}

func startChild(t *testing.T) child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"=yes")
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
	c := child{cmd: cmd}
	if _, err := fmt.Fscan(stdout, &c.url); err != nil {
		t.Fatalf("read the child's database URL: %v", err)
	}
	return c
}

func (c child) socketDir(t *testing.T) string {
	t.Helper()
	config, err := pgx.ParseConfig(c.url)
	if err != nil {
		t.Fatal(err)
	}
	return config.Host
}
