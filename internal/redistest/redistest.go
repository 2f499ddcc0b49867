// Package redistest runs a Redis server for a test, which can stop and restart it.
//
// The server listens on a unix socket only and writes nothing to disk. On Linux it ends with the
// process, even if that is killed.
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

// startTimeout bounds a start on a busy machine.
const startTimeout = 30 * time.Second

// Server is a Redis server, running or stopped.
type Server struct {
	// URL is its address in the form of REDIS_URL.
	URL string

	t      testing.TB
	socket string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
}

// Start starts an empty Redis, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	// The path of t.TempDir may be too long for a socket.
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

// Start starts the server again, empty.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(s.socket)) //nolint:noctx // Stop ends it
	s.cmd.SysProcAttr = attributes()
	var output bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &output, &output
	ended, started := make(chan struct{}), make(chan error)
	s.ended = ended
	go func() {
		// The parent-death signal fires when this thread ends, so the goroutine must keep it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // Stop kills it
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start Redis (tools/setup.sh installs it): %v", err)
	}
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(startTimeout); ; {
		conn, err := net.Dial("unix", s.socket) //nolint:noctx // a unix socket answers or refuses at once
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			s.t.Fatalf("redis exited before it was ready: %s", output.Bytes())
		case <-poll.C:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis is not ready: %v", err)
		}
	}
}

// Stop kills the server; its contents are lost. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.t.Helper()
	_ = s.cmd.Process.Kill() // the process may have ended
	<-s.ended
}

// Flush deletes the contents of a running server.
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
