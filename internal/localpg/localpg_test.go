//go:build unix

package localpg_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"parley/internal/localpg"
)

func TestColdStartAnswersQueries(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "created", "by start")
	s := start(t, dir)

	for sql, want := range map[string]string{
		"SELECT current_user":   "parley",
		"SHOW fsync":            "on",
		"SHOW listen_addresses": "",
		"SHOW data_checksums":   "on",
		"SHOW server_encoding":  "UTF8",
		"SHOW max_connections":  "100",
		"SHOW lc_ctype":         "C.UTF-8",
	} {
		if got := query(t, s.URL("postgres"), sql); got != want {
			t.Errorf("%s = %q, want %q", sql, got, want)
		}
	}
	info, err := os.Stat(socketDir(t, s.URL("postgres")))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket directory has mode %v", info.Mode())
	}
}

func TestSettingsOverrideDefaultsButNotTheListener(t *testing.T) {
	t.Parallel()
	s, err := localpg.Start(t.Context(), localpg.Config{Dir: newDir(t), Settings: map[string]string{
		"fsync": "off", "max_connections": "17", "listen_addresses": "127.0.0.1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })

	for setting, want := range map[string]string{"fsync": "off", "max_connections": "17", "listen_addresses": ""} {
		if got := query(t, s.URL("postgres"), "SHOW "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
}

func TestDataSurvivesStop(t *testing.T) {
	t.Parallel()
	dir := newDir(t)

	s := start(t, dir)
	execute(t, s.URL("postgres"), `CREATE DATABASE "a b/c"`)
	execute(t, s.URL("a b/c"), "CREATE TABLE t (v text)", "INSERT INTO t VALUES ('kept')")
	sockets := socketDir(t, s.URL("postgres"))
	idle := connect(t, s.URL("postgres")) // an open connection must not delay Stop
	stop(t, s)
	<-s.Done()
	if err := idle.Ping(t.Context()); err == nil {
		t.Error("a connection outlived the server")
	}
	if _, err := os.Stat(sockets); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket directory was not removed: %v", err)
	}
	stop(t, s) // stopping twice is safe

	s = start(t, dir)
	if got := query(t, s.URL("a b/c"), "SELECT v FROM t"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestStopReportsAnAbort(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	execute(t, s.URL("postgres"), "CREATE TABLE t (v text)", "INSERT INTO t VALUES ('kept')")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// The fast shutdown may finish first. Otherwise Stop must report the abort.
	if err := s.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	<-s.Done()

	s = start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT v FROM t"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestStopKillsAnUnresponsiveServer(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	if err := syscall.Kill(s.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	<-s.Done()
	start(t, dir)
}

func TestSecondProgramIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := startProgram(t, dir)
	mustFail(t, localpg.Config{Dir: dir}, dir, "in use by another program")
	if got := query(t, first.url, "SELECT 'undisturbed'"); got != "undisturbed" {
		t.Errorf("got %q", got)
	}
}

func TestSecondStartInOneProgramIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	start(t, dir)
	mustFail(t, localpg.Config{Dir: dir}, dir, "in use by another program")
}

func TestPostgresEndsWithAKilledProgram(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	p := startProgram(t, dir)
	execute(t, p.url, "CREATE TABLE t (v text)", "INSERT INTO t VALUES ('kept')")

	p.kill(t)
	eventually(t, "postgres has ended", func() bool { return hasEnded(p.pid) })

	s := start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT v FROM t"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestStartWaitsForPostgresOfKilledProgram(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	p := startProgram(t, dir)
	execute(t, p.url, "CREATE TABLE t (v text)", "INSERT INTO t VALUES ('kept')")

	p.kill(t)
	s := start(t, dir) // without waiting

	if !hasEnded(p.pid) {
		t.Error("the postgres of the killed program still runs")
	}
	if got := query(t, s.URL("postgres"), "SELECT v FROM t"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestDataSurvivesKilledPostgres(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	execute(t, s.URL("postgres"), "CREATE TABLE t (v text)", "INSERT INTO t VALUES ('kept')")

	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()

	s = start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT v FROM t"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestStalePidFileWithReusedPidIsRemoved(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cluster := filepath.Join(dir, "postgres")
	leavePidFile(t, start(t, dir), cluster, func() int { return startSleeper(t, cluster, "/") })
	start(t, dir)
}

func TestClusterUsedByAForeignPostgresIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cluster := filepath.Join(dir, "postgres")
	leavePidFile(t, start(t, dir), cluster, func() int { return startSleeper(t, cluster, cluster) })
	mustFail(t, localpg.Config{Dir: dir}, cluster, "did not start")
}

func TestStaleSocketIsRemoved(t *testing.T) {
	t.Parallel()
	// given a killed program that left its socket
	dir := newDir(t)
	p := startProgram(t, dir)
	stale := socketDir(t, p.url)
	p.kill(t)
	eventually(t, "postgres has ended", func() bool { return hasEnded(p.pid) })
	for _, name := range []string{".s.PGSQL.5432", ".s.PGSQL.5432.lock"} {
		if err := os.WriteFile(filepath.Join(stale, name), []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// when a new server starts
	s := start(t, dir)

	// then it works, and the stale socket is removed
	if got := query(t, s.URL("postgres"), "SELECT 'works'"); got != "works" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale socket was not removed: %v", err)
	}
}

func TestLongDirectoryPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), strings.Repeat("long/", 30), "data")
	s := start(t, dir)
	sockets := socketDir(t, s.URL("postgres"))
	if got := query(t, s.URL("postgres"), "SELECT 'works'"); got != "works" {
		t.Errorf("got %q", got)
	}
	stop(t, s)
	if _, err := os.Stat(sockets); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket directory was not removed: %v", err)
	}
}

func TestErrorNamesUnreachableDirectory(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(newDir(t), "closed")
	mode, remedy := fs.FileMode(0o700), "chmod o+x "+closed // postgres, as another user than root, cannot enter
	if os.Geteuid() != 0 {
		mode, remedy = 0o500, "permission denied" // nothing can be created in it
	}
	if err := os.Mkdir(closed, mode); err != nil {
		t.Fatal(err)
	}
	err := mustFail(t, localpg.Config{Dir: filepath.Join(closed, "data")}, closed, remedy)
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("want a permission error, got %v", err)
	}
}

func TestClusterOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	stop(t, start(t, dir))
	if err := os.WriteFile(filepath.Join(dir, "postgres", "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, localpg.Config{Dir: dir}, dir, "made by PostgreSQL 9 ", "pg_upgrade")
}

func TestErrorNamesARefusedSetting(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	mustFail(t, localpg.Config{Dir: dir, Settings: map[string]string{"no_such_setting": "1"}}, "no_such_setting")
	start(t, dir) // the locks were released
}

func TestFailedInitdbLeavesNoCluster(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for _, message := range []string{
		"initdb: error: could not write: No space left on device",
		"FATAL: could not extend file: wrote only 4096 of 8192 bytes; HINT: Check free disk space.",
	} {
		full := fakeBinaries(t, `mkdir "$2/base" && echo "`+message+`" >&2; exit 1`)
		err := mustFail(t, localpg.Config{Dir: dir, BinDir: full}, dir, "is full")
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("want ENOSPC, got %v", err)
		}
		checkNoCluster(t, dir)
	}

	other := fakeBinaries(t, `echo "initdb: error: something else" >&2; exit 1`)
	mustFail(t, localpg.Config{Dir: dir, BinDir: other}, "something else")
	checkNoCluster(t, dir)

	start(t, dir)
}

func TestCancelStopsInitdb(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	slow := fakeBinaries(t, `touch "$2/started"; sleep 600`)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := localpg.Start(ctx, localpg.Config{Dir: dir, BinDir: slow})
		failed <- err
	}()
	eventually(t, "initdb has started", func() bool {
		_, err := os.Stat(filepath.Join(dir, "postgres.new", "started"))
		return err == nil
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	checkNoCluster(t, dir)
}

func TestForeignFilesAreKept(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	foreign := filepath.Join(dir, "postgres", "foreign")
	if err := os.Mkdir(filepath.Dir(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, localpg.Config{Dir: dir}, filepath.Dir(foreign), "is not a database cluster")
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}

func TestFindBinaries(t *testing.T) {
	t.Parallel()
	found, err := localpg.FindBinaries("")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := localpg.FindBinaries(found); err != nil || again != found {
		t.Errorf("FindBinaries(%q) = %q, %v", found, again, err)
	}
	empty := newDir(t)
	_, err = localpg.FindBinaries(empty)
	if err == nil || !strings.Contains(err.Error(), empty) || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("the error must name the directory and how to install: %v", err)
	}
}

// fakeBinaries creates an initdb that runs a shell script, with the new cluster as $2, and a
// postgres that prints a version.
func fakeBinaries(t *testing.T, initdb string) string {
	t.Helper()
	dir := newDir(t)
	for name, script := range map[string]string{"initdb": initdb, "postgres": "echo 'postgres (PostgreSQL) 15.1'"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func checkNoCluster(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"postgres", "postgres.new"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was not removed: %v", name, err)
		}
	}
}
