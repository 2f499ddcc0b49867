package main

import (
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

var announcedDebug = regexp.MustCompile(`"serve profiles and metrics","address":"(http://127\.0\.0\.1:\d+)"`)

// inside is a client of the address at which a server lets itself be looked into.
func (p *process) inside() client {
	p.t.Helper()
	found := announcedDebug.FindStringSubmatch(p.stderr.String())
	if found == nil {
		p.t.Fatalf("no such address is told:\n%s", p.stderr.String())
	}
	debug := newClient(p.t, found[1], "", 0)
	debug.http = &http.Client{Timeout: patience} // the document has nothing of this
	return debug
}

// metric is the line of one metric, without its name.
func (c client) metric(name string) string {
	c.t.Helper()
	status, text, err := c.try("GET", "/metrics", nil)
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("/metrics: %d, %v", status, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestWhoIsNearCanLookInside(t *testing.T) {
	t.Parallel()
	// given a server with an address for that, which is used
	server := serving(t, newDir(t), "PARLEY_DEBUG_ADDR=127.0.0.1:0", "PARLEY_RATE_LIMITS=messages=1")
	inside, outside := server.inside(), server.client(server.key)
	conversation := outside.start()
	if _, _, err := outside.send(conversation, "Hello"); err != nil {
		t.Fatal(err)
	}
	outside.call("POST", "/conversations/"+conversation+"/messages/", object{"content": "Again"}, http.StatusTooManyRequests, nil)
	outside.call("GET", "/nowhere/at/all", nil, http.StatusNotFound, nil)
	outside.call("GET", "/docs", nil, http.StatusOK, nil)
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(server.base, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()

	// then the numbers say so; a spelling of a path is no operation of its own
	for name, want := range map[string]string{
		`parley_requests_total{code="201",method="POST",operation="sendMessage"}`:   "1",
		`parley_requests_total{code="429",method="POST",operation="sendMessage"}`:   "1",
		`parley_request_seconds_count{method="POST",operation="startConversation"}`: "1",
		`parley_requests_total{code="200",method="GET",operation="getDocs"}`:        "1",
		`parley_requests_total{code="404",method="any",operation="unknown"}`:        "1",
		`parley_requests_total{code="101",method="GET",operation="connect"}`:        "1",
		`parley_requests_in_flight`:                   "0",
		`parley_messages_total{result="stored"}`:      "1",
		`parley_messages_total{result="refused"}`:     "0",
		`parley_rate_limited_total{class="messages"}`: "1",
		`parley_sockets_open`:                         "1",
		`parley_visits`:                               "1",
		`parley_replies_waiting`:                      "0",
		`parley_database_connections_max`:             "16",
		`parley_sends_waiting`:                        "0",
		`parley_redis_away`:                           "", // there is none
	} {
		var got string
		eventually(t, name+" is "+want, func() bool { got = inside.metric(name); return got == want })
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "parley_database_acquires_total"} {
		if got := inside.metric(name); got == "" || got == "0" {
			t.Errorf("%s is %q", name, got)
		}
	}

	// and profiles can be taken, for longer than the public address would wait for a header
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if status, text, err := inside.try("GET", path, nil); err != nil || status != http.StatusOK || len(text) == 0 {
			t.Errorf("%s: %d, %d bytes, %v", path, status, len(text), err)
		}
	}

	// not by a page of some web site, whose name may lead here
	for name, value := range map[string]string{"Host": "attacker.example:6060", "Sec-Fetch-Site": "cross-site"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, inside.base+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if request.Header.Set(name, value); name == "Host" {
			request.Host = value
		}
		answer, err := inside.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != http.StatusForbidden {
			t.Errorf("with %s: %s it is %d", name, value, answer.StatusCode)
		}
	}

	// and nothing of it is told at the public address
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/api/metrics", "/debug"} {
		outside.call("GET", path, nil, http.StatusNotFound, nil)
	}
	server.stop()
	if _, _, err := inside.try("GET", "/metrics", nil); err == nil {
		t.Error("it can still be looked into after its end")
	}
}

func TestWithoutAnAddressNobodyLooksInside(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	if found := announcedDebug.FindString(server.stderr.String()); found != "" {
		t.Errorf("it says %s", found)
	}
	server.stop()
}

func TestAProfileDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_DEBUG_ADDR=127.0.0.1:0")
	inside := server.inside()
	ended := make(chan error, 1)
	go func() {
		_, _, err := inside.try("GET", "/debug/pprof/trace?seconds=120", nil)
		ended <- err
	}()
	eventually(t, "the trace is being taken", func() bool {
		_, text, err := inside.try("GET", "/debug/pprof/goroutine?debug=1", nil)
		return err == nil && strings.Contains(string(text), "pprof.Trace")
	})
	server.stop()
	if err := <-ended; err == nil {
		t.Error("two minutes of a trace were there in no time")
	}
}

func TestADebugAddressInUseIsToldBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(newDir(t), "data")
	_, stderr, code := runCommand(t, dir, []string{"PARLEY_DEBUG_ADDR=" + taken.Addr().String()})
	mustFail(t, stderr, code, "PARLEY_DEBUG_ADDR", taken.Addr().String(), "in use")
	if exists(dir) {
		t.Error("something was started")
	}
}
