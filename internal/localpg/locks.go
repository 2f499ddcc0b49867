//go:build unix

package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// earlierRunTimeout bounds the wait for processes that a killed program left behind: a fast
// shutdown with its checkpoint.
const earlierRunTimeout = time.Minute

// locks are the two locks on a cluster. Both are flocks, which the kernel releases when the
// last process that holds the open file ends.
type locks struct {
	program *os.File // held by this program only: a second program is refused immediately
	running *os.File // inherited by postgres and its children; if it is free, all of them have ended
}

// acquireLocks locks the cluster. While both locks are held, no process of an earlier start is
// alive, so every pid file and socket found is stale. Process IDs, which are reused, would not
// prove that.
func acquireLocks(ctx context.Context, dir string) (locks, error) {
	program, err := openLock(filepath.Join(dir, "postgres.lock"))
	if err != nil {
		return locks{}, err
	}
	if err := tryLock(program); err != nil {
		holder, _ := io.ReadAll(program) // for the message only
		program.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return locks{}, fmt.Errorf("the database in %s is in use by another program (pid %s): "+
				"stop that one or choose another data directory", dir, strings.TrimSpace(string(holder)))
		}
		return locks{}, fmt.Errorf("lock %s: %w", program.Name(), err)
	}
	l := locks{program: program}
	if err := l.writePid(); err != nil {
		l.release()
		return locks{}, err
	}
	if l.running, err = openLock(filepath.Join(dir, "postgres.running")); err != nil {
		l.release()
		return locks{}, err
	}
	if err := waitLock(ctx, l.running); err != nil {
		l.release()
		return locks{}, fmt.Errorf("wait for the postgres of an earlier run to end (its pid is the first line of %s): %w",
			filepath.Join(dir, "postgres", "postmaster.pid"), err)
	}
	return l, nil
}

// release releases the locks after postgres has ended, or if it was not started. Calling it
// twice is safe.
func (l locks) release() {
	if l.running != nil {
		l.running.Close() // without unlocking: a backend may outlive its postmaster for a moment
	}
	// Closing is not enough: a child that this program is forking for something else may hold
	// a copy of the descriptor until it execs.
	_ = syscall.Flock(int(l.program.Fd()), syscall.LOCK_UN)
	l.program.Close()
}

// writePid writes this program's pid into its lock file, for the error of a second program.
func (l locks) writePid() error {
	err := l.program.Truncate(0)
	if err == nil {
		_, err = l.program.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	return nil
}

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	return f, nil
}

func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func waitLock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, earlierRunTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := tryLock(f)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
