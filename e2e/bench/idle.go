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

	"parley/e2e/harness"
)

const (
	// idleCount is how many sockets of row 10 are open and silent.
	idleCount = 10_000
	// openFiles is what the processes of both ends need.
	openFiles = idleCount + 1000
)

// memory is what a process holds, in bytes.
type memory struct {
	resident int
	heap     int // in use, as the last collection has found it, to a megabyte
}

// idleSockets measures row 10.
func (b *bench) idleSockets() row {
	return row{
		number: "10", most: 1,
		lines: []line{{
			what: fmt.Sprintf("%d idle sockets, each of a session of its own: KB of resident memory each", idleCount),
			must: atMost(35), aim: atMost(25), unit: "KB", shows: noted,
		}},
		measure: func(ctx context.Context, _ int) ([]finding, error) {
			socket, err := b.idle(ctx)
			note := fmt.Sprintf("%.1f KB of heap", float64(socket.heap)/1000)
			return []finding{{float64(socket.resident) / 1000, sample{note: note}, sample{}}}, err
		},
	}
}

// idle measures what a silent socket takes of a server's memory. The server is one of
// its own: it has to keep its memory so small that nothing but what is in use is
// resident, as after a collection, which cannot be asked for from outside.
func (b *bench) idle(ctx context.Context) (_ memory, err error) {
	if err := allowFiles(openFiles); err != nil {
		return memory{}, err
	}
	server, err := b.startServer(ctx, "GOMEMLIMIT=1MiB", "GODEBUG=gctrace=1")
	if err != nil {
		return memory{}, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	a := audience{Base: server.Base, Sockets: 500, IDs: answeredTalks, Count: answeredCount, Keys: b.keys}
	empty, err := memoryWith(ctx, server, a, true) // what a first use needs is there then
	if err != nil {
		return memory{}, err
	}
	a.Sockets = idleCount
	full, err := memoryWith(ctx, server, a, false)
	return memory{(full.resident - empty.resident) / idleCount, (full.heap - empty.heap) / idleCount}, err
}

// memoryWith is a server's memory with an audience, or after it has left.
func memoryWith(ctx context.Context, server *harness.Process, a audience, isAfter bool) (_ memory, err error) {
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
func settled(ctx context.Context, server *harness.Process) (memory, error) {
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

func memoryOf(server *harness.Process) (memory, error) {
	resident, err := residentOf(server)
	if err != nil {
		return memory{}, err
	}
	log, err := os.ReadFile(server.Log())
	if err != nil {
		return memory{}, err
	}
	collections := collection.FindAllSubmatch(log, -1)
	if len(collections) == 0 {
		return memory{}, errors.New("the server's log tells no collection of garbage")
	}
	megabytes, err := strconv.Atoi(string(collections[len(collections)-1][1]))
	return memory{resident, megabytes << 20}, err
}

// residentOf is what a server has in memory, in bytes.
func residentOf(server *harness.Process) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Pid()))
	if err != nil {
		return 0, err
	}
	resident := residentSize.FindSubmatch(status)
	if resident == nil {
		return 0, errors.New("the server's memory cannot be read")
	}
	kilobytes, err := strconv.Atoi(string(resident[1]))
	return kilobytes << 10, err
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
