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
	slow := p.begin(200, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	p.client(p.key).call("GET", "/healthz", nil, http.StatusOK, nil)
	for _, conn := range slow {
		p.endOf(conn, began.Add(patience))
	}
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("they were cut off after %v", took)
	}
}

// Bodies have a minute, and those of a request that is refused some seconds. What has arrived by then has no effect.
func TestSlowBodiesAreCutOff(t *testing.T) {
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
	if _, status, err := c.send(conversation, "from somebody else"); err != nil || status != http.StatusCreated {
		t.Fatalf("beside them: %d, %v", status, err)
	}
	eventually(t, "the answer", func() bool { return len(c.messages(conversation)) == 2 })
	told := func(conns []net.Conn, status string, until time.Time) {
		t.Helper()
		for _, conn := range conns {
			if said := p.endOf(conn, until); !strings.HasPrefix(said, "HTTP/1.1 "+status) {
				t.Fatalf("it is told %q, not %s", said, status)
			}
		}
	}
	told(refused, "401", began.Add(patience))
	told(taken, "400", began.Add(time.Minute+patience))
	if took := time.Since(began); took < 55*time.Second {
		t.Errorf("they were cut off after %v", took)
	}
	if got := c.messages(conversation); len(got) != 2 {
		t.Errorf("stored: %+v", got)
	}
}

// begin opens connections and writes the beginning of a request on each.
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

// endOf reads what a connection still brings, which must end in time.
func (p *process) endOf(conn net.Conn, until time.Time) string {
	p.t.Helper()
	if err := conn.SetReadDeadline(until); err != nil {
		p.t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		p.t.Fatalf("it does not end, after %q: %v", said, err)
	}
	return string(said)
}
