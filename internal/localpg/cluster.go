//go:build unix

package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// cluster is a database cluster on disk that no process uses, with what is needed to run it.
type cluster struct {
	path    string // absolute
	bin     string
	account account
}

// openCluster returns the cluster in dir and creates it if there is none. The caller holds the
// locks.
func openCluster(ctx context.Context, dir string, cfg Config, l locks) (cluster, error) {
	removeSocketDir(dir)
	c := cluster{path: filepath.Join(dir, "postgres")}
	version, err := os.ReadFile(filepath.Join(c.path, "PG_VERSION"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("read the cluster's version: %w", err)
	}
	if c.account, err = accountFor(c.path); err != nil {
		return c, err
	}
	if c.bin, err = binariesFor(strings.TrimSpace(string(version)), cfg.BinDir, dir, c.account); err != nil {
		return c, err
	}
	if len(version) == 0 {
		return c, c.create(ctx, cfg.Settings["fsync"] == "off", l)
	}
	return c, c.removePidFile()
}

// create creates the cluster under a temporary name and renames it, so that an incomplete
// cluster never has the final name.
func (c cluster) create(ctx context.Context, noSync bool, l locks) (err error) {
	// An empty directory may be a mount point. Anything else that is not a cluster was not
	// created by this program and is kept.
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists and is not a database cluster: %w", c.path, err)
	}
	incomplete := c.path + ".new"
	if err := os.RemoveAll(incomplete); err != nil {
		return fmt.Errorf("remove an incomplete cluster: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(incomplete))
		}
	}()
	if err := c.account.makeDir(incomplete); err != nil {
		return fmt.Errorf("create a directory for the cluster: %w", err)
	}
	if err := c.initdb(ctx, incomplete, noSync, l); err != nil {
		return err
	}
	if err := os.Rename(incomplete, c.path); err != nil {
		return fmt.Errorf("rename the new cluster: %w", err)
	}
	return syncDir(filepath.Dir(c.path))
}

// initdb trusts every connection, since only this program's user and root can reach the socket.
// C.UTF-8 sorts by code point, so no update of the C library can corrupt an index, and still
// classifies the letters of all scripts.
func (c cluster) initdb(ctx context.Context, dir string, noSync bool, l locks) error {
	args := []string{
		"-D", dir, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums",
	}
	if noSync {
		args = append(args, "--no-sync")
	}
	var output bytes.Buffer
	cmd := c.account.command(filepath.Join(c.bin, "initdb"), args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.ExtraFiles = []*os.File{l.running} // so that the next start waits for it if this program is killed
	// The parent-death signal fires when this thread ends, so the goroutine must keep it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start initdb: %w", err)
	}
	// Kill the whole process group: initdb has children that write into the directory.
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	err := cmd.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("create the cluster: %w", ctx.Err())
	case reportsDiskFull(output.String()):
		return fmt.Errorf("no space for the database: the disk that holds %s is full: %w", c.path, syscall.ENOSPC)
	}
	return fmt.Errorf("initdb: %w:\n%s", err, lastLines(output.String()))
}

// removePidFile removes the PID file of a postgres that was killed. If the file remained and another process had the
// same PID, postgres would refuse to start. The locks prove that no postgres of this program is alive. A postgres
// that another program started on the cluster is recognized by its working directory. If /proc does not show that,
// postgres itself refuses a cluster whose shared memory is in use.
func (c cluster) removePidFile() error {
	path := filepath.Join(c.path, "postmaster.pid")
	if pid := pidFileLine(path, 1); pid != "" {
		workDir, err := os.Stat(filepath.Join("/proc", pid, "cwd"))
		if err == nil {
			if own, err := os.Stat(c.path); err == nil && os.SameFile(workDir, own) {
				return fmt.Errorf("the cluster in %s is in use by process %s, which this program did not start: stop it first",
					c.path, pid)
			}
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a stale pid file: %w", err)
	}
	return nil
}

// isReady reports whether the postmaster with this pid accepts connections.
func (c cluster) isReady(pid int) bool {
	path := filepath.Join(c.path, "postmaster.pid")
	return pidFileLine(path, 8) == "ready" && pidFileLine(path, 1) == strconv.Itoa(pid)
}

func (c cluster) logPath() string { return c.path + ".log" }

// pidFileLine returns a line of postmaster.pid, counted from 1, or "" if it does not exist yet.
func pidFileLine(path string, number int) string {
	content, _ := os.ReadFile(path)
	lines := strings.Split(string(content), "\n")
	if len(lines) < number {
		return ""
	}
	return strings.TrimSpace(lines[number-1])
}

// logTail returns the end of the log as an error.
func logTail(log string) error {
	content, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("read the postgres log: %w", err)
	}
	if reportsDiskFull(string(content)) {
		return fmt.Errorf("%w:\n%s", syscall.ENOSPC, lastLines(string(content)))
	}
	return fmt.Errorf("the end of %s is:\n%s", log, lastLines(string(content)))
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// reportsDiskFull reports whether the output of another program shows that its disk is full. For a write that was cut
// short by a full disk, PostgreSQL prints only a hint.
func reportsDiskFull(output string) bool {
	output = strings.ToLower(output)
	return strings.Contains(output, syscall.ENOSPC.Error()) || strings.Contains(output, "check free disk space")
}

// syncDir makes a rename in the directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the data directory: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync the data directory: %w", err)
	}
	return nil
}
