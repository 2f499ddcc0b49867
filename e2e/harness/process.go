// Package harness starts the processes of benchmarks and chaos tests: servers, and workers. A worker is another
// process of the same program, so that its CPU time and memory can be measured separately. The package also writes
// result tables.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Process is a running server. Its standard error goes to a log file.
type Process struct {
	cmd *exec.Cmd
	// Base is the URL that the server announced.
	Base   string
	log    *os.File
	stdout output
	exited chan error // receives the result of Wait once
}

var address = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// Start starts a server and waits until it announces its URL on standard output.
func Start(ctx context.Context, dir, program string, stdin []byte, env []string, args ...string) (*Process, error) {
	log, err := os.CreateTemp(dir, filepath.Base(program)+"-*.log")
	if err != nil {
		return nil, err
	}
	p := &Process{log: log, exited: make(chan error, 1), cmd: exec.Command(program, args...)} //nolint:noctx // Stop ends it
	p.stdout.changed = make(chan struct{}, 1)
	p.cmd.Env = env
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = bytes.NewReader(stdin), &p.stdout, log
	// A process group of its own: Ctrl-C reaches only the parent, which then stops the server in
	// order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		log.Close()
		return nil, err
	}
	go func() { p.exited <- p.cmd.Wait() }()
	for {
		select {
		case <-p.stdout.changed:
			if p.Base = address.FindString(p.stdout.text()); p.Base != "" {
				return p, nil
			}
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), p.Stop())
		case err := <-p.exited:
			p.exited <- err
			logged, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("%s exited: %w\n%s", filepath.Base(program), errors.Join(err, p.Stop()), Tail(string(logged)))
		}
	}
}

// StartSelf starts this program again as one of its own servers.
func StartSelf(ctx context.Context, dir, name string, stdin []byte) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := Start(ctx, dir, self, stdin, nil, name)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log returns the path of the log file.
func (p *Process) Log() string { return p.log.Name() }

// Stop terminates the process and waits for it. After 30 seconds it kills the process and returns
// an error.
func (p *Process) Stop() error {
	defer p.log.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if it has exited
	select {
	case err := <-p.exited:
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("the server ignored SIGTERM and was killed"), p.Kill())
	}
}

// Kill sends SIGKILL and waits for the process.
func (p *Process) Kill() error {
	defer p.log.Close()
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	var killed *exec.ExitError
	if err := <-p.exited; !errors.As(err, &killed) {
		return err
	}
	return nil
}

// output collects what a process writes. It is safe for concurrent use.
type output struct {
	mu      sync.Mutex
	all     bytes.Buffer
	changed chan struct{} // has room for one; a full channel is signal enough
}

// Write implements io.Writer.
func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		select {
		case o.changed <- struct{}{}:
		default:
		}
	}()
	return o.all.Write(data)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// Tail returns the end of a log, which usually names the cause.
func Tail(text string) string {
	return text[max(0, len(text)-2000):]
}
