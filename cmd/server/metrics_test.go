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

// What goes wrong shows in a number of its own.
func TestFaultsShowInTheMetrics(t *testing.T) {
	t.Parallel()
	// given a server over a PostgreSQL, a Redis and a model server that can go away
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
	inside, asked := server.inside(), server.client(server.key)
	shows := func(wanted map[string]string) {
		t.Helper()
		for name, want := range wanted {
			var got string
			within(t, patience, name+" is "+want, func() bool {
				got = inside.metric(name)
				return got == want || want == "some" && got != "" && got != "0"
			})
		}
	}
	shows(map[string]string{
		"parley_database_away": "0", "parley_database_connects_failed_total": "0", "parley_redis_away": "0", "parley_stopping": "0",
		"parley_schema": "some", "parley_database_connects_total": "some", `parley_replies_total{result="completed"}`: "0",
	})

	// when all is well, that shows too
	once := asked.with("Idempotency-Key", "once")
	conversation := asked.start()
	for range 2 {
		if _, status, err := once.send(conversation, "What is Parley?"); err != nil || status != http.StatusCreated {
			t.Fatalf("%d, %v", status, err)
		}
	}
	today := time.Now().UTC().Format(time.DateOnly)
	asked.call("GET", "/api/chatbots/parley/records/?startDate="+today+"&endDate="+today, nil, http.StatusOK, nil)
	if status, _, err := asked.try("GET", "/api/chatbots/parley/records/export-excel/?startDate="+today+"&endDate="+today, nil); err != nil || status != http.StatusOK {
		t.Errorf("the export: %d, %v", status, err)
	}
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(server.base, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(t.Context()); err != nil { // the greeting
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
	_, all, err := inside.try("GET", "/metrics", nil)
	if err != nil || !strings.Contains(string(all), "parley_requests_replayed_total 1") {
		t.Fatalf("the metrics are %s: %v", all, err)
	}
	for _, private := range append([]string{conversation, "What is Parley?"}, server.secrets...) {
		if strings.Contains(string(all), private) {
			t.Errorf("the metrics tell %q", private)
		}
	}

	// when the model server is away
	asked.http.Transport.(*contracttest.Transport).ExpectFailures()
	asked.call("POST", "/api/chatbots/", object{"name": "Lost", "slug": "lost", "engine": "openai", "model": object{"baseUrl": nowhere, "name": "small"}}, http.StatusCreated, nil)
	asked.call("POST", "/api/chatbots/lost/completions/", object{"message": object{"content": "Hello?"}}, http.StatusBadGateway, nil)
	shows(map[string]string{
		`parley_model_calls_total{result="unreached"}`:                                 "some",
		`parley_replies_total{result="failed"}`:                                        "1",
		`parley_requests_total{code="502",method="POST",operation="createCompletion"}`: "1",
	})

	// when Redis is away
	redis.Stop()
	shows(map[string]string{"parley_redis_away": "1", "parley_redis_losses_total": "1"})
	redis.Start()
	shows(map[string]string{"parley_redis_away": "0", "parley_redis_losses_total": "1"})

	// when PostgreSQL is away
	if err := postgres.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not ready", func() bool { return asked.readyz() == http.StatusServiceUnavailable })
	shows(map[string]string{
		"parley_database_away": "1", "parley_database_connects_failed_total": "some",
		`parley_requests_total{code="503",method="GET",operation="getReadiness"}`: "some",
	})
	startPostgres(t, dir)
	shows(map[string]string{"parley_database_away": "0"})

	// and when it is told to stop
	asked.start() // it can be used again
	server.signal(syscall.SIGTERM)
	shows(map[string]string{"parley_stopping": "1"})
	if code := server.awaitEnd(patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}
