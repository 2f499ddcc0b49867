package main

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/contracttest"
	"parley/internal/redistest"
)

// Each kind of failure is visible in a metric.
func TestFailuresAreVisibleInMetrics(t *testing.T) {
	t.Parallel()
	// given: a server whose PostgreSQL, Redis and model server can be stopped
	dir := newDir(t)
	postgres := startPostgres(t, dir)
	redis := redistest.Start(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := "http://" + closed.Addr().String()
	closed.Close()
	server := serving(t, newDir(t), "PARLEY_DEBUG_ADDR=127.0.0.1:0", "REDIS_URL="+redis.URL, "PARLEY_DRAIN=3s",
		"DATABASE_URL=postgres://parley@/postgres?host="+url.QueryEscape(filepath.Join(dir, "postgres.socket")))
	debug, api := server.debugClient(), server.client(server.key)
	shows := func(wanted map[string]string) {
		t.Helper()
		for name, want := range wanted {
			var got string
			within(t, testTimeout, name+" is "+want, func() bool {
				got = debug.metric(name)
				return got == want || want == "some" && got != "" && got != "0"
			})
		}
	}
	shows(map[string]string{
		"parley_database_away": "0", "parley_database_connects_failed_total": "0", "parley_redis_away": "0", "parley_stopping": "0",
		"parley_schema": "some", "parley_database_connects_total": "some", `parley_replies_total{result="completed"}`: "0",
	})

	// when: everything works
	once := api.with("Idempotency-Key", "once")
	conversation := api.start()
	for range 2 {
		if _, status, err := once.send(conversation, "What is Parley?"); err != nil || status != http.StatusCreated {
			t.Fatalf("%d, %v", status, err)
		}
	}
	today := time.Now().UTC().Format(time.DateOnly)
	api.call("GET", "/api/chatbots/parley/records/?startDate="+today+"&endDate="+today, nil, http.StatusOK, nil)
	if status, _, err := api.try("GET", "/api/chatbots/parley/records/export-excel/?startDate="+today+"&endDate="+today, nil); err != nil || status != http.StatusOK {
		t.Errorf("export: %d, %v", status, err)
	}
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(server.base, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(t.Context()); err != nil { // connected
		t.Error(err)
	}
	if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	shows(map[string]string{
		"parley_requests_replayed_total":                       "1",
		`parley_replies_total{result="completed"}`:             "1",
		`parley_reply_first_token_seconds_count{engine="faq"}`: "1",
		`parley_exports_total{result="written"}`:               "1",
		"parley_exports_writing":                               "0",
		"parley_sockets_opened_total":                          "1",
		`parley_sockets_closed_total{reason="left"}`:           "1",
	})
	_, all, err := debug.try("GET", "/metrics", nil)
	if err != nil || !strings.Contains(string(all), "parley_requests_replayed_total 1") {
		t.Fatalf("metrics: %s: %v", all, err)
	}
	for _, private := range append([]string{conversation, "What is Parley?"}, server.secrets...) {
		if strings.Contains(string(all), private) {
			t.Errorf("the metrics contain %q", private)
		}
	}

	// when: the model server is unreachable
	api.http.Transport.(*contracttest.Transport).ExpectFailures()
	api.call("POST", "/api/chatbots/", object{"name": "Lost", "slug": "lost", "engine": "openai", "model": object{"baseUrl": nowhere, "name": "small"}}, http.StatusCreated, nil)
	api.call("POST", "/api/chatbots/lost/completions/", object{"message": object{"content": "Hello?"}}, http.StatusBadGateway, nil)
	shows(map[string]string{
		`parley_model_calls_total{result="unreached"}`:                                 "some",
		`parley_replies_total{result="failed"}`:                                        "1",
		`parley_requests_total{code="502",method="POST",operation="createCompletion"}`: "1",
	})

	// when: Redis is down
	redis.Stop()
	shows(map[string]string{"parley_redis_away": "1", "parley_redis_losses_total": "1"})
	redis.Start()
	shows(map[string]string{"parley_redis_away": "0", "parley_redis_losses_total": "1"})

	// when: PostgreSQL is down
	if err := postgres.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/readyz answers 503", func() bool { return api.readyz() == http.StatusServiceUnavailable })
	shows(map[string]string{
		"parley_database_away": "1", "parley_database_connects_failed_total": "some",
		`parley_requests_total{code="503",method="GET",operation="getReadiness"}`: "some",
	})
	startPostgres(t, dir)
	shows(map[string]string{"parley_database_away": "0"})

	// and when: the server is stopped
	api.start()
	server.signal(syscall.SIGTERM)
	shows(map[string]string{"parley_stopping": "1"})
	if code := server.awaitExit(testTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
