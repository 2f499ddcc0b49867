package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"parley/internal/localpg"
	"parley/internal/secret"
)

// stack is all that the bench has started.
type stack struct {
	dir       string
	bin       string // the directory of PostgreSQL's programs
	secretKey string
	postgres  *localpg.Server
	server    *child
	bare      *child
	data
}

// startStack builds the server and starts it over a PostgreSQL of its own.
func startStack(ctx context.Context, o options) (_ *stack, err error) {
	dir, err := os.MkdirTemp(o.dir, "parley-bench-")
	if err != nil {
		return nil, err
	}
	s := &stack{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	// Root runs PostgreSQL as another user, who must get in.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if s.bin, err = localpg.FindBinaries(os.Getenv("PARLEY_POSTGRES_BIN")); err != nil {
		return nil, err
	}
	if said, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", s.program(), "./cmd/server").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the server (in the root of the source): %w\n%s", err, said)
	}
	if s.postgres, err = localpg.Start(ctx, localpg.Config{Dir: filepath.Join(dir, "data"), BinDir: s.bin}); err != nil {
		return nil, err
	}
	s.secretKey = secret.NewKey()
	if s.server, err = startChild(ctx, s.dir, s.program(), nil, s.environment()); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.bare, err = startChild(ctx, s.dir, self, []byte(s.url()), nil, "reference")
	if err != nil {
		return nil, fmt.Errorf("start the reference: %w", err)
	}
	return s, nil
}

func (s *stack) url() string { return s.postgres.URL("postgres") }

func (s *stack) program() string { return filepath.Join(s.dir, "parley") }

// environment is a server's: all limits are on, and so high that none is met.
func (s *stack) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + s.url(),
		"PARLEY_SECRET_KEY=" + s.secretKey,
		"PARLEY_DATA_DIR=" + s.dir,
		"PARLEY_ADDR=127.0.0.1:0",
		"PARLEY_RATE_LIMITS=messages=2000000000,history=2000000000,list=2000000000",
		"PARLEY_SOCKET_LIMITS=user=2000000000,address=2000000000",
	}
}

// stop ends everything and removes it.
func (s *stack) stop() error {
	var errs []error
	for _, one := range []*child{s.bare, s.server} {
		if one != nil {
			errs = append(errs, one.stop())
		}
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop(context.Background())) // also when the bench is to end
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

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
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
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
			return nil, fmt.Errorf("it ended: %w\n%s", errors.Join(err, c.stop()), told)
		}
	}
}

// stop ends it, by force after a while.
func (c *child) stop() error {
	defer c.log.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case err := <-c.ended:
		return err
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Kill()
		return errors.Join(errors.New("a server had to be killed"), <-c.ended)
	}
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

// load has another process send requests, and returns what it found.
func load(ctx context.Context, j job) (found, error) {
	self, err := os.Executable()
	if err != nil {
		return found{}, err
	}
	given, err := json.Marshal(j)
	if err != nil {
		return found{}, err
	}
	var said, told bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "load")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(given), &said, &told
	if err := cmd.Run(); err != nil {
		return found{}, fmt.Errorf("send requests: %w\n%s", errors.Join(ctx.Err(), err), told.String())
	}
	var f found
	if err := json.Unmarshal(said.Bytes(), &f); err != nil {
		return found{}, fmt.Errorf("read what the load found: %w", err)
	}
	return f, nil
}
