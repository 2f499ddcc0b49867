package store_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"parley/internal/dbtest"
	"parley/internal/store"
)

// startPgBouncer starts a pgbouncer in front of a new database and returns the URL.
func startPgBouncer(t *testing.T, mode string) string {
	t.Helper()
	target := connect(t, dbtest.Empty(t)).Config()
	dir, err := os.MkdirTemp("/tmp", "pgbouncer-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // pgbouncer, which refuses to run as root, creates its socket here
		t.Fatal(err)
	}
	config := fmt.Sprintf("[databases]\n* = host=%s user=%s\n[pgbouncer]\nlisten_addr=\nunix_socket_dir=%s\nauth_type=any\npool_mode=%s\n", target.Host, target.User, dir, mode)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil { //nolint:gosec // read by the account of pgbouncer
		t.Fatal(err)
	}
	args := []string{"-q", file}
	if os.Geteuid() == 0 {
		args = []string{"-q", "-u", "postgres", file}
	}
	ctx, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, pgBouncer(), args...)
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatalf("start pgbouncer (tools/setup.sh installs it): %v", err)
	}
	t.Cleanup(func() {
		stop()
		_ = command.Wait() // it was killed
		if t.Failed() {
			t.Log(output.String())
		}
	})
	eventually(t, "pgbouncer listens", func() bool {
		conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return fmt.Sprintf("host=%s port=6432 user=%s dbname=%s", dir, target.User, target.Database)
}

// pgBouncer returns the program, which is often not in the PATH of users.
func pgBouncer() string {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path
	}
	return "/usr/sbin/pgbouncer"
}

// pgbouncer refuses most startup parameters. The settings of a session must hold behind it all the same.
func TestSessionsBehindAPoolerHaveTheirSettings(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), startPgBouncer(t, "session"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantOrganizations(t, s, 0)
	for name, want := range map[string]string{"statement_timeout": "30s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "20s", "TimeZone": "UTC"} {
		var got string
		if err := store.Raw(s).QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s (error %v)", name, got, want, err)
		}
	}
}

// In transaction mode, session settings and locks would be those of other connections.
func TestPoolerInTransactionModeIsRefused(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), startPgBouncer(t, "transaction"))
	if err == nil || !strings.Contains(err.Error(), "use session mode (pool_mode=session in pgbouncer)") {
		t.Errorf("the error is %v", err)
	}
}
