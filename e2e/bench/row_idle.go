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
	// idleCount is the number of idle sockets that row 10 opens.
	idleCount = 10_000
	// openFiles is the limit of open files that the processes on both ends need.
	openFiles = idleCount + 1000
)

// memory is the memory of a process in bytes.
type memory struct {
	resident int
	heap     int // live after the last garbage collection, rounded to a megabyte
}

// rowIdleSockets is row 10.
func (b *bench) rowIdleSockets() row {
	return row{
		number: "10", maxRounds: 1,
		lines: []line{{
			what: fmt.Sprintf("%d idle sockets, each with its own session: resident memory per socket", idleCount),
			must: atMost(35), aim: atMost(25), unit: "KB", format: note,
		}},
		measure: func(ctx context.Context, _ int) ([]measurement, error) {
			perSocket, err := b.measureIdle(ctx)
			heap := fmt.Sprintf("%.1f KB of heap", float64(perSocket.heap)/1000)
			return []measurement{{float64(perSocket.resident) / 1000, sample{note: heap}, sample{}}}, err
		},
	}
}

// measureIdle measures the memory of an idle socket on a separate server. A low memory limit makes that server
// collect garbage continuously, so that only memory in use stays resident.
func (b *bench) measureIdle(ctx context.Context) (_ memory, err error) {
	if err := allowFiles(openFiles); err != nil {
		return memory{}, err
	}
	server, err := b.startServer(ctx, "GOMEMLIMIT=1MiB", "GODEBUG=gctrace=1")
	if err != nil {
		return memory{}, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	// Some sockets are opened and closed first, so that one-time allocations are not counted.
	job := socketJob{Base: server.Base, Sockets: 500, IDs: answeredIDs, Count: answeredCount, Keys: b.keys}
	sockets, err := openSockets(ctx, job)
	if err != nil {
		return memory{}, err
	}
	if err := sockets.close(); err != nil {
		return memory{}, err
	}
	empty, err := awaitSteadyMemory(ctx, server)
	if err != nil {
		return memory{}, err
	}
	job.Sockets = idleCount
	if sockets, err = openSockets(ctx, job); err != nil {
		return memory{}, err
	}
	full, err := awaitSteadyMemory(ctx, server)
	return memory{(full.resident - empty.resident) / idleCount, (full.heap - empty.heap) / idleCount}, errors.Join(err, sockets.close())
}

// awaitSteadyMemory returns a server's memory once it has not shrunk for three seconds.
func awaitSteadyMemory(ctx context.Context, server *harness.Process) (memory, error) {
	const steadySamples = 15
	least := memory{}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for steady := 0; steady < steadySamples; steady++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return least, ctx.Err()
		}
		now, err := readMemory(server)
		if err != nil {
			return least, err
		}
		if least.resident == 0 || now.resident < least.resident {
			steady, least = 0, now
		}
	}
	return least, nil
}

var (
	residentSize = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)
	collection   = regexp.MustCompile(`gc \d+ @.* \d+->\d+->(\d+) MB`)
)

func readMemory(server *harness.Process) (memory, error) {
	resident, err := readResident(server)
	if err != nil {
		return memory{}, err
	}
	log, err := os.ReadFile(server.Log())
	if err != nil {
		return memory{}, err
	}
	collections := collection.FindAllSubmatch(log, -1)
	if len(collections) == 0 {
		return memory{}, errors.New("the server's log shows no garbage collection")
	}
	megabytes, err := strconv.Atoi(string(collections[len(collections)-1][1]))
	return memory{resident, megabytes << 20}, err
}

// readResident returns a server's resident memory in bytes.
func readResident(server *harness.Process) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Pid()))
	if err != nil {
		return 0, err
	}
	resident := residentSize.FindSubmatch(status)
	if resident == nil {
		return 0, errors.New("the server's status has no VmRSS")
	}
	kilobytes, err := strconv.Atoi(string(resident[1]))
	return kilobytes << 10, err
}

// allowFiles raises the limit of open files of this process and of those that it starts.
func allowFiles(count uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = max(limit.Max, count) // raising the hard limit needs privileges
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("allow %d open files: %w", count, err)
	}
	return nil
}
