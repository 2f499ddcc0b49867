package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Whoever sends the headers of a request byte by byte keeps a connection for ten seconds, and nobody else from being
// answered.
func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	p := serving(t, newDir(t))
	began := time.Now()
	slow := make([]net.Conn, 200)
	for i := range slow {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		slow[i] = conn
	}
	response, err := http.Get(p.base + "/healthz")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("beside them: %v, %v", response, err)
	}
	for _, conn := range slow {
		if err := conn.SetReadDeadline(began.Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatalf("a slow one is open after %v: %v", time.Since(began), err)
		}
	}
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("they were cut off after %v", took)
	}
}
