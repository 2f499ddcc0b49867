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

// A connection whose request headers are not complete after ten seconds is closed. Other requests are not delayed.
func TestSlowHeadersTimeOut(t *testing.T) {
	t.Parallel()
	p := serving(t, newDir(t))
	began := time.Now()
	slow := p.begin(200, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	p.client(p.key).call("GET", "/healthz", nil, http.StatusOK, nil)
	for _, conn := range slow {
		p.readAll(conn, began.Add(testTimeout))
	}
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("the connections were closed after %v", took)
	}
}

// A request body may take a minute, or a few seconds if the request is refused. An incomplete request has no effect.
func TestSlowBodiesTimeOut(t *testing.T) {
	t.Parallel()
	p := serving(t, newDir(t))
	c := p.client(p.key)
	conversation := c.start()
	post := func(count int, path, key, contentType, begin string) []net.Conn {
		return p.begin(count, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key %s\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n%s", path, key, contentType, begin))
	}
	const form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\n\r\nquestion,answer\r\nWho?,Me.\r\n"
	began := time.Now()
	refused := post(50, "/api/conversations/"+conversation+"/messages", "pk_0.nobody", "application/json", `{"content":"hello"}`)
	taken := append(
		post(50, "/api/conversations/"+conversation+"/messages", p.key, "application/json", `{"content":"hello"}`),
		post(8, "/api/chatbots/parley/faqs/import/", p.key, "multipart/form-data; boundary=b", form)...)
	if _, status, err := c.send(conversation, "another message"); err != nil || status != http.StatusCreated {
		t.Fatalf("a concurrent message: %d, %v", status, err)
	}
	eventually(t, "the reply is stored", func() bool { return len(c.messages(conversation)) == 2 })
	text := func(conns []net.Conn, status string, until time.Time) {
		t.Helper()
		for _, conn := range conns {
			if output := p.readAll(conn, until); !strings.HasPrefix(output, "HTTP/1.1 "+status) {
				t.Fatalf("response %q, want %s", output, status)
			}
		}
	}
	text(refused, "401", began.Add(testTimeout))
	text(taken, "400", began.Add(time.Minute+testTimeout))
	if took := time.Since(began); took < 55*time.Second {
		t.Errorf("the connections were closed after %v", took)
	}
	if got := c.messages(conversation); len(got) != 2 {
		t.Errorf("stored: %+v", got)
	}
}

// begin opens connections and writes the start of a request on each.
func (p *process) begin(count int, request string) []net.Conn {
	p.t.Helper()
	opened := make([]net.Conn, count)
	for i := range opened {
		conn, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", strings.TrimPrefix(p.base, "http://"))
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, request); err != nil {
			p.t.Fatal(err)
		}
		opened[i] = conn
	}
	return opened
}

// readAll reads a connection until it is closed or the deadline is reached.
func (p *process) readAll(conn net.Conn, until time.Time) string {
	p.t.Helper()
	if err := conn.SetReadDeadline(until); err != nil {
		p.t.Fatal(err)
	}
	output, err := io.ReadAll(conn)
	if err != nil {
		p.t.Fatalf("not closed after %q: %v", output, err)
	}
	return string(output)
}
