package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// daemon is a program that listens on a port and can be started again on the same port.
type daemon struct {
	path  string
	args  []string
	owner *syscall.Credential // nil: this process's user
	port  int
	log   string

	process *os.Process
	exited  chan struct{}
}

// spawn starts the program. On Linux the kernel ends it when this program dies.
func (d *daemon) spawn() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.path, d.args...) //nolint:noctx // end ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = "/"
	cmd.SysProcAttr = processAttributes(d.owner)
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// PR_SET_PDEATHSIG refers to the thread that started the process. The thread must therefore outlive
		// the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it exits by a signal
		}
	}()
	if err := <-started; err != nil {
		<-exited
		return err
	}
	d.process, d.exited = cmd.Process, exited
	return nil
}

func (d *daemon) isRunning() bool {
	if d.process == nil {
		return false
	}
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// end sends a signal to the process, or to its whole process group, and waits for its exit. After
// 20 seconds it kills the group.
func (d *daemon) end(signal syscall.Signal, wholeGroup bool) {
	if d.process == nil {
		return
	}
	pid := d.process.Pid
	if wholeGroup {
		pid = -pid
	}
	_ = syscall.Kill(pid, signal) // fails if it has exited
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-d.process.Pid, syscall.SIGKILL)
		<-d.exited
	}
}

// awaitPort waits until the port accepts connections.
func (d *daemon) awaitPort(ctx context.Context, limit time.Duration) error {
	return waitFor(ctx, limit, "start "+d.path, func() error {
		if !d.isRunning() {
			return errors.New("it has exited, see " + d.log)
		}
		conn, err := net.Dial("tcp", address(d.port)) //nolint:noctx // a loopback connection is answered or refused immediately
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// address returns the address of a port on loopback.
func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
