// Package harness puts up what programs that measure or break a server play with: the
// server itself, and further processes of their own program; and it writes down what they
// have found.
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

// Child is a server that was started; its log is a file.
type Child struct {
	cmd *exec.Cmd
	// Base is where it says that it serves.
	Base  string
	log   *os.File
	said  output
	ended chan error
}

var address = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// Start starts a server and waits until it says where it serves.
func Start(ctx context.Context, dir, program string, in []byte, environment []string, args ...string) (*Child, error) {
	log, err := os.CreateTemp(dir, filepath.Base(program)+"-*.log")
	if err != nil {
		return nil, err
	}
	c := &Child{log: log, ended: make(chan error, 1), cmd: exec.Command(program, args...)} //nolint:noctx // Stop ends it
	c.said.changed = make(chan struct{}, 1)
	c.cmd.Env = environment
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = bytes.NewReader(in), &c.said, log
	// Ctrl-C is for who has started it, and then ends it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		log.Close()
		return nil, err
	}
	go func() { c.ended <- c.cmd.Wait() }()
	for {
		select {
		case <-c.said.changed:
			if c.Base = address.FindString(c.said.text()); c.Base != "" {
				return c, nil
			}
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.Stop())
		case err := <-c.ended:
			c.ended <- err
			told, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("it ended: %w\n%s", errors.Join(err, c.Stop()), LastOf(string(told)))
		}
	}
}

// StartSelf starts one of the programs that this one is too, a server.
func StartSelf(ctx context.Context, dir, name string, in []byte) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := Start(ctx, dir, self, in, nil, name)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	return c, nil
}

// Pid is its process id.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Log is the path of its log.
func (c *Child) Log() string { return c.log.Name() }

// Stop ends it, by force after a while.
func (c *Child) Stop() error {
	defer c.log.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case err := <-c.ended:
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("a server had to be killed"), c.Kill())
	}
}

// Kill leaves it no chance to put anything in order.
func (c *Child) Kill() error {
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

// LastOf is the end of what was said, which tells the most.
func LastOf(text string) string {
	return text[max(0, len(text)-2000):]
}
