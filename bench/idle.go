package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

const (
	// idleSockets is how many sockets of row 10 are open and silent.
	idleSockets = 10_000
	// openFiles is what the processes of both ends need.
	openFiles = idleSockets + 1000
)

// memory is what a process holds, in bytes.
type memory struct {
	resident int
	heap     int // in use, as the last collection has found it, to a megabyte
}

// idle measures what a silent socket takes of a server's memory. The server is one of
// its own: it has to keep its memory so small that nothing but what is in use is
// resident, as after a collection, which cannot be asked for from outside.
func (m *measurements) idle(ctx context.Context) (_ memory, err error) {
	if err := allowFiles(openFiles); err != nil {
		return memory{}, err
	}
	dir, err := os.MkdirTemp(m.stack.dir, "idle-")
	if err != nil {
		return memory{}, err
	}
	server, err := startChild(ctx, dir, m.program(), nil, append(m.environment(), "GOMEMLIMIT=1MiB", "GODEBUG=gctrace=1"))
	if err != nil {
		return memory{}, fmt.Errorf("start the server: %w", err)
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	a := audience{Base: server.base, Sockets: 500, First: 0, Count: 2 * m.silent, Keys: m.keys}
	empty, err := m.memoryWith(ctx, server, a, true) // what a first use needs is there then
	if err != nil {
		return memory{}, err
	}
	a.Sockets = idleSockets
	full, err := m.memoryWith(ctx, server, a, false)
	return memory{(full.resident - empty.resident) / idleSockets, (full.heap - empty.heap) / idleSockets}, err
}

// memoryWith is a server's memory with an audience, or after it has left.
func (m *measurements) memoryWith(ctx context.Context, server *child, a audience, isAfter bool) (_ memory, err error) {
	l, err := gather(ctx, a)
	if err != nil {
		return memory{}, err
	}
	defer func() {
		if l != nil {
			err = errors.Join(err, l.leave())
		}
	}()
	if isAfter {
		leaving := l
		l = nil
		if err := leaving.leave(); err != nil {
			return memory{}, err
		}
	}
	return settled(ctx, server)
}

// settled is a server's memory once it does not shrink any more.
func settled(ctx context.Context, server *child) (memory, error) {
	const patience = 15
	least := memory{}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for since := 0; since < patience; since++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return least, ctx.Err()
		}
		now, err := memoryOf(server)
		if err != nil {
			return least, err
		}
		if least.resident == 0 || now.resident < least.resident {
			since, least = 0, now
		}
	}
	return least, nil
}

var (
	residentSize = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)
	collection   = regexp.MustCompile(`gc \d+ @.* \d+->\d+->(\d+) MB`)
)

func memoryOf(server *child) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.cmd.Process.Pid))
	if err != nil {
		return memory{}, err
	}
	log, err := os.ReadFile(server.log.Name())
	if err != nil {
		return memory{}, err
	}
	resident := residentSize.FindSubmatch(status)
	collections := collection.FindAllSubmatch(log, -1)
	if resident == nil || len(collections) == 0 {
		return memory{}, errors.New("the server's memory cannot be read")
	}
	kilobytes, err := strconv.Atoi(string(resident[1]))
	megabytes, otherErr := strconv.Atoi(string(collections[len(collections)-1][1]))
	return memory{kilobytes << 10, megabytes << 20}, errors.Join(err, otherErr)
}

// allowFiles lets this process, and those that it starts, open that many files.
func allowFiles(count uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = max(limit.Max, count) // more than there was only for who may
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files, which so many sockets need: %w", count, err)
	}
	return nil
}
