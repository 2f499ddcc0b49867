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
	"parley/internal/localpg"
	"parley/internal/redistest"
)

// Each kind of failure is visible in a metric.
func TestFailuresAreVisibleInMetrics(t *testing.T) {
	t.Parallel()
	// given: a server whose PostgreSQL, Redis and model server can be stopped
	s := startObservedServer(t)
	s.expectMetrics(map[string]string{
		"parley_database_away": "0", "parley_database_connects_failed_total": "0", "parley_redis_away": "0", "parley_stopping": "0",
		"parley_schema": "some", "parley_database_connects_total": "some", `parley_replies_total{result="completed"}`: "0",
	})

	// when: requests of each kind are sent, and then each service fails
	conversation := s.sendRequestsOfEachKind()
	s.checkMetricsContainNoSecrets(conversation)
	s.callUnreachableModel()
	s.restartRedis()
	s.restartPostgres()

	// and when: the server is stopped
	s.api.start()
	s.server.signal(syscall.SIGTERM)
	s.expectMetrics(map[string]string{"parley_stopping": "1"})
	if code := s.server.awaitExit(testTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// observedServer is a server with a debug address, and the services that it uses.
type observedServer struct {
	t           *testing.T
	server      *process
	debug, api  client
	postgresDir string
	postgres    *localpg.Server
	redis       *redistest.Server
}

func startObservedServer(t *testing.T) *observedServer {
	t.Helper()
	s := &observedServer{t: t, postgresDir: newDir(t), redis: redistest.Start(t)}
	s.postgres = startPostgres(t, s.postgresDir)
	s.server = serving(t, newDir(t), "PARLEY_DEBUG_ADDR=127.0.0.1:0", "REDIS_URL="+s.redis.URL, "PARLEY_DRAIN=3s",
		"DATABASE_URL=postgres://parley@/postgres?host="+url.QueryEscape(filepath.Join(s.postgresDir, "postgres.socket")))
	s.debug, s.api = s.server.debugClient(), s.server.client(s.server.key)
	return s
}

// expectMetrics waits until the metrics have the wanted values. The value "some" matches any value except 0.
func (s *observedServer) expectMetrics(wanted map[string]string) {
	s.t.Helper()
	for name, want := range wanted {
		var got string
		within(s.t, testTimeout, name+" is "+want, func() bool {
			got = s.debug.metric(name)
			return got == want || want == "some" && got != "" && got != "0"
		})
	}
}

// sendRequestsOfEachKind sends a message twice with one Idempotency-Key, exports records and opens a socket. It returns
// the conversation.
func (s *observedServer) sendRequestsOfEachKind() (conversation string) {
	s.t.Helper()
	once := s.api.with("Idempotency-Key", "once")
	conversation = s.api.start()
	for range 2 {
		if _, status, err := once.send(conversation, "What is Parley?"); err != nil || status != http.StatusCreated {
			s.t.Fatalf("%d, %v", status, err)
		}
	}
	today := time.Now().UTC().Format(time.DateOnly)
	s.api.call("GET", "/api/chatbots/parley/records/?startDate="+today+"&endDate="+today, nil, http.StatusOK, nil)
	if status, _, err := s.api.try("GET", "/api/chatbots/parley/records/export-excel/?startDate="+today+"&endDate="+today, nil); err != nil || status != http.StatusOK {
		s.t.Errorf("export: %d, %v", status, err)
	}
	s.openAndCloseSocket()
	s.expectMetrics(map[string]string{
		"parley_requests_replayed_total":                       "1",
		`parley_replies_total{result="completed"}`:             "1",
		`parley_reply_first_token_seconds_count{engine="faq"}`: "1",
		`parley_exports_total{result="written"}`:               "1",
		"parley_exports_writing":                               "0",
		"parley_sockets_opened_total":                          "1",
		`parley_sockets_closed_total{reason="left"}`:           "1",
	})
	return conversation
}

func (s *observedServer) openAndCloseSocket() {
	s.t.Helper()
	socket, _, err := websocket.Dial(s.t.Context(), strings.Replace(s.server.base, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, _, err := socket.Read(s.t.Context()); err != nil { // connected
		s.t.Error(err)
	}
	if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
		s.t.Error(err)
	}
}

func (s *observedServer) checkMetricsContainNoSecrets(conversation string) {
	s.t.Helper()
	_, all, err := s.debug.try("GET", "/metrics", nil)
	if err != nil || !strings.Contains(string(all), "parley_requests_replayed_total 1") {
		s.t.Fatalf("metrics: %s: %v", all, err)
	}
	for _, private := range append([]string{conversation, "What is Parley?"}, s.server.secrets...) {
		if strings.Contains(string(all), private) {
			s.t.Errorf("the metrics contain %q", private)
		}
	}
}

func (s *observedServer) callUnreachableModel() {
	s.t.Helper()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	nowhere := "http://" + closed.Addr().String()
	closed.Close()
	s.api.http.Transport.(*contracttest.Transport).ExpectFailures()
	s.api.call("POST", "/api/chatbots/", object{"name": "Lost", "slug": "lost", "engine": "openai", "model": object{"baseUrl": nowhere, "name": "small"}}, http.StatusCreated, nil)
	s.api.call("POST", "/api/chatbots/lost/completions/", object{"message": object{"content": "Hello?"}}, http.StatusBadGateway, nil)
	s.expectMetrics(map[string]string{
		`parley_model_calls_total{result="unreached"}`:                                 "some",
		`parley_replies_total{result="failed"}`:                                        "1",
		`parley_requests_total{code="502",method="POST",operation="createCompletion"}`: "1",
	})
}

func (s *observedServer) restartRedis() {
	s.t.Helper()
	s.redis.Stop()
	s.expectMetrics(map[string]string{"parley_redis_away": "1", "parley_redis_losses_total": "1"})
	s.redis.Start()
	s.expectMetrics(map[string]string{"parley_redis_away": "0", "parley_redis_losses_total": "1"})
}

func (s *observedServer) restartPostgres() {
	s.t.Helper()
	if err := s.postgres.Stop(context.WithoutCancel(s.t.Context())); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "/readyz answers 503", func() bool { return s.api.readyz() == http.StatusServiceUnavailable })
	s.expectMetrics(map[string]string{
		"parley_database_away": "1", "parley_database_connects_failed_total": "some",
		`parley_requests_total{code="503",method="GET",operation="getReadiness"}`: "some",
	})
	s.postgres = startPostgres(s.t, s.postgresDir)
	s.expectMetrics(map[string]string{"parley_database_away": "0"})
}
