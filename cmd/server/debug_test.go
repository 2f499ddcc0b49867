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

// debugClient returns a client of the debug address.
func (p *process) debugClient() client {
	p.t.Helper()
	var found []string
	eventually(p.t, "the log has the debug address", func() bool {
		found = announcedDebug.FindStringSubmatch(p.stderr.String())
		return found != nil
	})
	debug := newClient(p.t, found[1], "", 0)
	debug.http = &http.Client{Timeout: testTimeout} // not in the OpenAPI document
	return debug
}

// metric returns the value of a metric, or an empty string if it does not exist.
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

func TestDebugAddressServesMetricsAndProfiles(t *testing.T) {
	t.Parallel()
	// given: a server with a debug address, after a few requests
	server := serving(t, newDir(t), "PARLEY_DEBUG_ADDR=127.0.0.1:0", "PARLEY_RATE_LIMITS=messages=1")
	debug, public := server.debugClient(), server.client(server.key)
	sendCountedRequests(public)

	// then
	checkRequestMetrics(debug)
	checkProfiles(debug)
	checkWebPagesAreRefused(debug)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/api/metrics", "/debug"} {
		public.call("GET", path, nil, http.StatusNotFound, nil)
	}
	server.stop()
	if _, _, err := debug.try("GET", "/metrics", nil); err == nil {
		t.Error("the debug address still answers after the shutdown")
	}
}

// sendCountedRequests sends the requests that checkRequestMetrics expects. Its socket stays open until the test ends.
func sendCountedRequests(public client) {
	t := public.t
	t.Helper()
	conversation := public.start()
	if _, _, err := public.send(conversation, "Hello"); err != nil {
		t.Fatal(err)
	}
	public.call("POST", "/conversations/"+conversation+"/messages/", object{"content": "Again"}, http.StatusTooManyRequests, nil)
	public.call("GET", "/nowhere/at/all", nil, http.StatusNotFound, nil)
	public.call("GET", "/docs", nil, http.StatusOK, nil)
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(public.base, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.CloseNow() }) // fails if the server has closed it
}

// checkRequestMetrics checks the metrics after sendCountedRequests. Aliases of a path count as the same operation.
func checkRequestMetrics(debug client) {
	debug.t.Helper()
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
		`parley_database_connections_max`:             "11", // of 16, with those of reports and of group commit
		`parley_sends_waiting`:                        "0",
		`parley_redis_away`:                           "", // no Redis
	} {
		var got string
		eventually(debug.t, name+" is "+want, func() bool { got = debug.metric(name); return got == want })
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "parley_database_acquires_total"} {
		if got := debug.metric(name); got == "" || got == "0" {
			debug.t.Errorf("%s is %q", name, got)
		}
	}
}

func checkProfiles(debug client) {
	debug.t.Helper()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if status, text, err := debug.try("GET", path, nil); err != nil || status != http.StatusOK || len(text) == 0 {
			debug.t.Errorf("%s: %d, %d bytes, %v", path, status, len(text), err)
		}
	}
}

// checkWebPagesAreRefused checks that web pages cannot use the debug address, even by DNS rebinding.
func checkWebPagesAreRefused(debug client) {
	t := debug.t
	t.Helper()
	for name, value := range map[string]string{"Host": "attacker.example:6060", "Sec-Fetch-Site": "cross-site"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, debug.base+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if request.Header.Set(name, value); name == "Host" {
			request.Host = value
		}
		answer, err := debug.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != http.StatusForbidden {
			t.Errorf("with %s: %s: status %d", name, value, answer.StatusCode)
		}
	}
}

func TestDebugServerIsOffByDefault(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	if found := announcedDebug.FindString(server.stderr.String()); found != "" {
		t.Errorf("the log has a debug address: %s", found)
	}
	server.stop()
}

func TestShutdownAbortsProfiles(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t), "PARLEY_DEBUG_ADDR=127.0.0.1:0")
	debug := server.debugClient()
	ended := make(chan error, 1)
	go func() {
		_, _, err := debug.try("GET", "/debug/pprof/trace?seconds=120", nil)
		ended <- err
	}()
	eventually(t, "the trace is in progress", func() bool {
		_, text, err := debug.try("GET", "/debug/pprof/goroutine?debug=1", nil)
		return err == nil && strings.Contains(string(text), "pprof.Trace")
	})
	server.stop()
	if err := <-ended; err == nil {
		t.Error("the trace was not aborted")
	}
}

func TestDebugAddressInUseFailsBeforeStart(t *testing.T) {
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
		t.Error("the failed start created a data directory")
	}
}
