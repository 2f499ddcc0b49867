package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// child is a server that the bench has started; its log is a file.
type child struct {
	cmd   *exec.Cmd
	base  string
	log   *os.File
	said  output
	ended chan error
}

var address = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// startChild starts a server and waits until it says where it serves.
func startChild(ctx context.Context, dir, program string, in []byte, environment []string, args ...string) (*child, error) {
	log, err := os.CreateTemp(dir, filepath.Base(program)+"-*.log")
	if err != nil {
		return nil, err
	}
	c := &child{log: log, ended: make(chan error, 1), cmd: exec.Command(program, args...)} //nolint:noctx // stop ends it
	c.said.changed = make(chan struct{}, 1)
	c.cmd.Env = environment
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = bytes.NewReader(in), &c.said, log
	// Ctrl-C is for the bench, which then ends it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		log.Close()
		return nil, err
	}
	go func() { c.ended <- c.cmd.Wait() }()
	for {
		select {
		case <-c.said.changed:
			if c.base = address.FindString(c.said.text()); c.base != "" {
				return c, nil
			}
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.stop())
		case err := <-c.ended:
			c.ended <- err
			told, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("it ended: %w\n%s", errors.Join(err, c.stop()), lastOf(string(told)))
		}
	}
}

// startSelf starts one of the programs that are servers.
func startSelf(ctx context.Context, dir, name string, in []byte) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := startChild(ctx, dir, self, in, nil, name)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	return c, nil
}

// stop ends it, by force after a while.
func (c *child) stop() error {
	defer c.log.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case err := <-c.ended:
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("a server had to be killed"), c.kill())
	}
}

// kill leaves it no chance to put anything in order.
func (c *child) kill() error {
	defer c.log.Close()
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	var killed *exec.ExitError
	if err := <-c.ended; !errors.As(err, &killed) {
		return err
	}
	return nil
}

// output keeps what a program says.
type output struct {
	mu      sync.Mutex
	all     bytes.Buffer
	changed chan struct{}
}

// Write notes what was said.
func (o *output) Write(said []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		select {
		case o.changed <- struct{}{}:
		default:
		}
	}()
	return o.all.Write(said)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// errand is another process of the bench that does something and tells what it has
// found.
type errand struct {
	cmd        *exec.Cmd
	name       string
	in         *json.Encoder
	end        func() error
	said, told bytes.Buffer
}

// send starts one of the programs that are errands.
func send(ctx context.Context, name string, job any) (*errand, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &errand{cmd: exec.CommandContext(ctx, self, name), name: name}
	e.cmd.Stdout, e.cmd.Stderr = &e.said, &e.told
	in, err := e.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	e.in, e.end = json.NewEncoder(in), in.Close
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	if err := e.in.Encode(job); err != nil {
		return nil, errors.Join(err, e.result(ctx, nil))
	}
	return e, nil
}

// result waits for its end, for which the end of its input may be the sign.
func (e *errand) result(ctx context.Context, into any) error {
	_ = e.end() // it may have ended
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("the %s: %w\n%s", e.name, errors.Join(ctx.Err(), err), lastOf(e.told.String()))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(e.said.Bytes(), into); err != nil {
		return fmt.Errorf("read what the %s has found: %w", e.name, err)
	}
	return nil
}

// ask sends an errand and waits for what it finds.
func ask[Found any](ctx context.Context, name string, job any) (found Found, err error) {
	e, err := send(ctx, name, job)
	if err != nil {
		return found, err
	}
	return found, e.result(ctx, &found)
}

// serve serves a handler, says where, and ends with ctx.
func serve(ctx context.Context, handler http.Handler, out io.Writer) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "http://%s\n", listener.Addr()); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		err := server.Close()
		if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
			err = errors.Join(err, failed)
		}
		return err
	}
}
