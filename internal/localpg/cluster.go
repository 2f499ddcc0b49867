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

// cluster is a database cluster on disk that no process uses, with what it takes to run it.
type cluster struct {
	path    string // absolute
	bin     string
	account account
}

// openCluster returns the cluster of dir, made now if need be. The caller holds the locks.
func openCluster(ctx context.Context, dir string, cfg Config, l locks) (cluster, error) {
	removeSocketDir(dir)
	c := cluster{path: filepath.Join(dir, "postgres")}
	version, err := os.ReadFile(filepath.Join(c.path, "PG_VERSION"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("read the version of the cluster: %w", err)
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

// create makes the cluster under another name, so that under its own there is never a half one.
func (c cluster) create(ctx context.Context, noSync bool, l locks) (err error) {
	// A file system mounted here is seen as an empty directory; anything else that is no cluster is not ours to remove.
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is in the way of a new cluster and is none: %w", c.path, err)
	}
	fresh := c.path + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove a half made cluster: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := c.account.makeDir(fresh); err != nil {
		return fmt.Errorf("make a directory for the cluster: %w", err)
	}
	if err := c.initdb(ctx, fresh, noSync, l); err != nil {
		return err
	}
	if err := os.Rename(fresh, c.path); err != nil {
		return fmt.Errorf("name the cluster: %w", err)
	}
	return syncDir(filepath.Dir(c.path))
}

// initdb trusts every connection: only our own user and root can reach the socket. C.UTF-8 sorts by code point, which
// no change of the C library can turn into corrupt indexes, and still knows the letters of all scripts.
func (c cluster) initdb(ctx context.Context, fresh string, noSync bool, l locks) error {
	args := []string{
		"-D", fresh, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums",
	}
	if noSync {
		args = append(args, "--no-sync")
	}
	var out bytes.Buffer
	cmd := c.account.command(filepath.Join(c.bin, "initdb"), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.ExtraFiles = []*os.File{l.running} // so that the next start waits for it, should we be killed

	// It too dies with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start initdb: %w", err)
	}
	// Its group dies with it, for initdb has children of its own that write into the directory.
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	err := cmd.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("make the cluster: %w", ctx.Err())
	case saysDiskFull(out.String()):
		return fmt.Errorf("there is no room for the database: the disk that holds %s is full: %w", c.path, syscall.ENOSPC)
	}
	return fmt.Errorf("initdb: %w:\n%s", err, lastLines(out.String()))
}

// removePidFile removes the pid file of a postgres that was killed. Left in place, it would stop the start whenever its
// pid has since gone to another process. The locks already say that no start of ours is alive; a postgres that someone
// else runs on the cluster is known by its working directory, and where that cannot be seen, postgres itself refuses a
// cluster whose shared memory is in use.
func (c cluster) removePidFile() error {
	path := filepath.Join(c.path, "postmaster.pid")
	if pid := pidFileLine(path, 1); pid != "" {
		theirs, err := os.Stat(filepath.Join("/proc", pid, "cwd"))
		if err == nil {
			if ours, err := os.Stat(c.path); err == nil && os.SameFile(theirs, ours) {
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

// ready tells whether the postmaster with this pid accepts connections.
func (c cluster) ready(pid int) bool {
	path := filepath.Join(c.path, "postmaster.pid")
	return pidFileLine(path, 8) == "ready" && pidFileLine(path, 1) == strconv.Itoa(pid)
}

func (c cluster) logPath() string { return c.path + ".log" }

// pidFileLine returns a line of postmaster.pid, the first being 1, or "" when there is none yet.
func pidFileLine(path string, number int) string {
	content, _ := os.ReadFile(path)
	lines := strings.Split(string(content), "\n")
	if len(lines) < number {
		return ""
	}
	return strings.TrimSpace(lines[number-1])
}

// lastWords returns the end of the log as an error.
func lastWords(log string) error {
	content, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("read its log: %w", err)
	}
	if saysDiskFull(string(content)) {
		return fmt.Errorf("%w:\n%s", syscall.ENOSPC, lastLines(string(content)))
	}
	return fmt.Errorf("the end of %s is:\n%s", log, lastLines(string(content)))
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// saysDiskFull reads the message, which is all that the ENOSPC of another program leaves to us. A write cut short by a
// full disk is no ENOSPC; of that there is only the hint.
func saysDiskFull(output string) bool {
	output = strings.ToLower(output)
	return strings.Contains(output, syscall.ENOSPC.Error()) || strings.Contains(output, "check free disk space")
}

// syncDir makes a rename in the directory outlast a power cut.
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
