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

// remnantLimit bounds the wait for what a killed program left running: a fast shutdown with its checkpoint.
const remnantLimit = time.Minute

// locks are the two claims on a cluster. Both are flocks, which the kernel lifts when the last holder is gone.
type locks struct {
	program *os.File // held by the program alone: who asks second is refused at once
	running *os.File // inherited by postgres and all its children: free means that none of them lives
}

// takeLocks claims the cluster. With both locks held, no process of any earlier start is alive, so that every pid file
// and socket found is stale: there is no need to guess from process ids, which are reused.
func takeLocks(ctx context.Context, dir string) (locks, error) {
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
	if err := l.sign(); err != nil {
		l.release()
		return locks{}, err
	}
	if l.running, err = openLock(filepath.Join(dir, "postgres.running")); err != nil {
		l.release()
		return locks{}, err
	}
	if err := awaitLock(ctx, l.running); err != nil {
		l.release()
		return locks{}, fmt.Errorf("wait for the postgres of an earlier run to end (its pid is the first line of %s): %w",
			filepath.Join(dir, "postgres", "postmaster.pid"), err)
	}
	return l, nil
}

// release is called when our postgres has ended or never began; calling it twice does no harm.
func (l locks) release() {
	if l.running != nil {
		l.running.Close() // without unlocking: a backend may outlive its postmaster for a moment
	}
	// Unlocked explicitly, since closing is not enough while a child of this program, forked at this very moment for
	// something else, still has its copy of the descriptor.
	_ = syscall.Flock(int(l.program.Fd()), syscall.LOCK_UN)
	l.program.Close()
}

// sign writes our pid into the program's lock, for the message to the one who comes second.
func (l locks) sign() error {
	err := l.program.Truncate(0)
	if err == nil {
		_, err = l.program.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	return nil
}

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	return f, nil
}

func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func awaitLock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, remnantLimit)
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
