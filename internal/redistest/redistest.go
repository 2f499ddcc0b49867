// Package redistest gives each test a Redis of its own, that it may stop and start
// again.
//
// The server listens on a unix socket alone, writes nothing to the disk, and ends with
// the process, however that ends.
package redistest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// startTime is how long a start may take, on a busy machine.
const startTime = 30 * time.Second

// Server is a Redis that may be running.
type Server struct {
	// URL is where it listens, as REDIS_URL takes it.
	URL string

	t      testing.TB
	socket string
	cmd    *exec.Cmd
	ended  chan struct{}
}

// Start starts a Redis with nothing in it; it ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	// The test's own directory may have a longer path than a socket can.
	dir, err := os.MkdirTemp("", "parley-redis-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, socket: filepath.Join(dir, "s")}
	s.URL = "unix://" + s.socket
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts it again, with nothing in it.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(s.socket)) //nolint:noctx // Stop ends it
	s.cmd.SysProcAttr = attributes()
	var said bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	ended, started := make(chan struct{}), make(chan error)
	s.ended = ended
	go func() {
		// The kernel ends the server with the thread that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start Redis (tools/setup.sh installs it): %v", err)
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(startTime); ; {
		conn, err := net.Dial("unix", s.socket) //nolint:noctx // a unix socket answers or refuses at once
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			s.t.Fatalf("redis ended before it was ready: %s", said.Bytes())
		case <-look.C:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis is not ready: %v", err)
		}
	}
}

// Stop kills it, and with it all that it holds. Stopping a stopped one does nothing.
func (s *Server) Stop() {
	s.t.Helper()
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// Flush empties it while it runs.
func (s *Server) Flush() {
	s.t.Helper()
	conn, err := net.Dial("unix", s.socket) //nolint:noctx // a unix socket answers or refuses at once
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		s.t.Fatal(err)
	}
	var answer [5]byte
	if _, err := conn.Read(answer[:]); err != nil || string(answer[:]) != "+OK\r\n" {
		s.t.Fatalf("redis answers %q, %v", answer, err)
	}
}
