//go:build browser

package main

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// wire is a TCP proxy that can cut its connections.
type wire struct {
	to       string
	listener net.Listener
	passing  sync.WaitGroup

	mu       sync.Mutex
	conns    map[*net.TCPConn]bool
	answered []string // the status of the first response on each connection
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: to, listener: listener, conns: map[*net.TCPConn]bool{}}
	w.passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			w.passing.Go(func() { w.pass(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		w.cut()
		w.passing.Wait()
	})
	return w
}

// pass copies data until either side closes.
func (w *wire) pass(browser *net.TCPConn) {
	defer w.keep(browser)()
	conn, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer w.keep(server)()
	w.passing.Go(func() {
		defer server.CloseWrite()
		_, _ = io.Copy(server, browser) // any error ends the copy
	})
	answers := bufio.NewReader(server)
	line, _ := answers.ReadString('\n') // empty if there was no request
	if _, rest, ok := strings.Cut(line, " "); ok {
		status, _, _ := strings.Cut(rest, " ")
		w.mu.Lock()
		w.answered = append(w.answered, status)
		w.mu.Unlock()
	}
	_, _ = io.WriteString(browser, line)
	_, _ = io.Copy(browser, answers)
}

// keep registers a connection for cut. drop closes and unregisters it.
func (w *wire) keep(conn *net.TCPConn) (drop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, conn)
		conn.Close()
	}
}

// cut resets all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		_ = conn.SetLinger(0) // send a reset instead of a FIN
		conn.Close()
	}
}

// statuses returns the statuses of the first responses so far, in order.
func (w *wire) statuses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.answered)
}
