package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/oasdiff/yaml"

	"parley/api"
	"parley/internal/auth"
	"parley/internal/realtime"
	"parley/internal/redistest"
)

// Every problem code is documented with the status that it has.
func TestEveryProblemCodeIsDocumented(t *testing.T) {
	t.Parallel()
	s := serve(t)
	statuses := map[string]int{
		"invalid_message": 400, "invalid_request": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404, "method_not_allowed": 405, "conflict": 409,
		"too_large": 413, "unsupported_media_type": 415, "unprocessable": 422, "rate_limited": 429, "internal": 500, "upstream_failed": 502, "unavailable": 503, "timeout": 504,
	}
	for _, value := range schemaOf("ProblemCode").Enum {
		code := value.(string)
		got := s.call(http.MethodGet, "/problems/"+code, nil).wantStatus(200)
		if got["code"] != code || number(got, "status") != statuses[code] || len(got) != 5 {
			t.Errorf("%v", got)
		}
		if isRetryable := statuses[code] >= 429; got["retryable"] != isRetryable {
			t.Errorf("%s: retryable is %v", code, got["retryable"])
		}
		delete(statuses, code)
	}
	if len(statuses) != 0 {
		t.Errorf("these codes are unknown: %v", statuses)
	}
	s.call(http.MethodGet, "/problems/Not_Found", nil).wantProblem(404, "not_found", "")
}

// The type of a problem is a URL that leads to its documentation.
func TestProblemTypeLinksToItsDocumentation(t *testing.T) {
	t.Parallel()
	s := serve(t)
	problem := s.call(http.MethodGet, "/nothing", nil).wantProblem(404, "not_found", "")
	if got := s.call(http.MethodGet, text(problem, "type"), nil).wantStatus(200); got["code"] != problem["error"] || got["title"] != problem["title"] {
		t.Errorf("%v explains %v", got, problem)
	}
}

// The server serves the document that it enforces, with equal contents as YAML and JSON.
func TestServerServesItsOpenAPIDocument(t *testing.T) {
	t.Parallel()
	s := serve(t)
	asYAML := s.call(http.MethodGet, "/openapi.yaml", nil)
	if !bytes.Equal(asYAML.body, bytes.Replace(api.YAML, []byte("{url: '/'"), []byte("{url: '"+s.url+"'"), 1)) || asYAML.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%d bytes of %s", len(asYAML.body), asYAML.header.Get("Content-Type"))
	}
	var fromYAML, fromJSON any
	if err := json.Unmarshal(must(yaml.YAMLToJSON(asYAML.body)), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(s.call(http.MethodGet, "/openapi.json", nil).body, &fromJSON); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(must(json.Marshal(fromYAML)), must(json.Marshal(fromJSON))) {
		t.Error("YAML and JSON differ")
	}
}

// The document names the server by the address of the request, unless its host is malformed.
func TestOpenAPIDocumentNamesTheServerOfTheRequest(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for host, want := range map[string]string{
		"chat.example.com": "http://chat.example.com", "localhost:8080": "http://localhost:8080", "[::1]:8080": "http://[::1]:8080",
		"'}": "/", "a..b": "/", "chat.example.com:port": "/", "x,y": "/", "(a)": "/",
	} {
		for _, path := range []string{"/openapi.json", "/openapi.yaml"} {
			got := s.call(http.MethodGet, path, nil, func(r *http.Request) { r.Host = host })
			var served struct{ Servers []struct{ URL string } }
			if err := json.Unmarshal(must(yaml.YAMLToJSON(got.body)), &served); err != nil || len(served.Servers) != 1 || served.Servers[0].URL != want {
				t.Errorf("%s from %s: %v, %v, want %s", path, host, served, err, want)
			}
		}
	}
}

// A client that has the current document receives 304 by its ETag. The ETag identifies the bytes of the document.
func TestOpenAPIDocumentSupportsConditionalRequests(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tags := map[string]bool{}
	for _, path := range []string{"/openapi.yaml", "/openapi.json", "/docs", "/docs/page.js"} {
		first := s.call(http.MethodGet, path, nil)
		tag := first.header.Get("ETag")
		if !regexp.MustCompile(`^"[0-9a-f]{16}"$`).MatchString(tag) || first.header.Get("Cache-Control") != "no-cache" || tags[tag] {
			t.Errorf("%s: ETag %s, Cache-Control %s", path, tag, first.header.Get("Cache-Control"))
		}
		tags[tag] = true
		for known, isKnown := range map[string]bool{
			tag: true, "W/" + tag: true, "*": true, `"0", ` + tag: true, `"0"`: false, strings.Trim(tag, `"`): false, `W/"0"`: false,
		} {
			got := s.call(http.MethodGet, path, nil, withHeader("If-None-Match", known))
			if isKnown && (got.status != http.StatusNotModified || len(got.body) > 0 || got.header.Get("ETag") != tag) {
				t.Errorf("%s with If-None-Match %s: %d, %d bytes, ETag %s", path, known, got.status, len(got.body), got.header.Get("ETag"))
			}
			if !isKnown && (got.status != http.StatusOK || !bytes.Equal(got.body, first.body)) {
				t.Errorf("%s with If-None-Match %s: %d, %d bytes", path, known, got.status, len(got.body))
			}
		}
	}
}

// The document's examples of itself are its first lines.
func TestOpenAPIDocumentExamplesOfItselfAreItsBeginning(t *testing.T) {
	t.Parallel()
	s := serve(t)
	example := func(path, kind string) any {
		return document.Paths.Value(path).Get.Responses.Value("200").Value.Content[kind].Example
	}
	for path, kind := range map[string]string{"/openapi.yaml": "application/yaml", "/docs": "text/html"} {
		if begins := example(path, kind).(string); !strings.HasPrefix(string(s.call(http.MethodGet, path, nil).body), begins) {
			t.Errorf("%s does not begin with %q", path, begins)
		}
	}
	whole := s.call(http.MethodGet, "/openapi.json", nil).json()
	want := example("/openapi.json", "application/json").(object)
	if whole["openapi"] != want["openapi"] || whole["info"].(object)["title"] != want["info"].(object)["title"] {
		t.Errorf("/openapi.json is not as %v", want)
	}
}

// The reference page loads nothing from other servers. All of its assets are served here.
func TestReferencePageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := serve(t)
	page := s.call(http.MethodGet, "/docs", nil)
	if !bytes.Contains(page.body, []byte("/openapi.yaml")) {
		t.Error("the page does not name the document")
	}
	assets := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(string(page.body), -1)
	if len(assets) < 5 {
		t.Errorf("the page names %v", assets)
	}
	policy := page.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") || strings.Contains(policy, "unsafe-eval") {
		t.Errorf("the page contains %q, which could load from other servers", policy)
	}
	for _, asset := range assets {
		if asset[1] == "/openapi.yaml" {
			continue // for clients without JavaScript
		}
		if !strings.HasPrefix(asset[1], "/docs/") {
			t.Errorf("the page loads %s", asset[1])
			continue
		}
		if got := s.call(http.MethodGet, asset[1], nil); got.status != 200 || len(got.body) == 0 {
			t.Errorf("%s: %d, %d bytes", asset[1], got.status, len(got.body))
		}
	}
}

// Readiness reports whether the service is ready, without reasons. Liveness reports only that it responds.
func TestReadinessHidesItsReasons(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.call(http.MethodGet, "/readyz", nil).wantStatus(200)
	s.ready.Store(new(errors.New("the password of the database is wrong")))
	got := s.call(http.MethodGet, "/readyz", nil)
	got.wantProblem(503, "unavailable", "")
	if bytes.Contains(got.body, []byte("password")) || got.header.Get("Retry-After") == "" {
		t.Errorf("%s %v", got.body, got.header)
	}
	s.call(http.MethodGet, "/healthz", nil).wantStatus(200)
}

// If Redis connects the instances, readiness reports the state of Redis. The service keeps serving without it.
func TestReadinessReportsTheStateOfRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	link := must(realtime.Open(t.Context(), redis.URL, slog.New(slog.DiscardHandler)))
	t.Cleanup(link.Close)
	s := serveWith(t, settings{link: link})
	if got := s.call(http.MethodGet, "/readyz", nil).wantStatus(200); got["redis"] != "ok" {
		t.Errorf("%v", got)
	}
	redis.Stop()
	eventually(t, "readiness reports that Redis is unavailable", func() bool { return s.call(http.MethodGet, "/readyz", nil).wantStatus(200)["redis"] == "away" })
}

// A valid request ID of the caller is kept. Otherwise the server generates one.
func TestValidRequestIDsAreKept(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for id, isSane := range map[string]bool{
		"a": true, "0": true, "AZaz09._:-": true, strings.Repeat("x", 128): true, uuid.NewString(): true,
		"": false, strings.Repeat("x", 129): false, "a b": false, "a/b": false, `a"b`: false, "字": false, "\xff": false, "a,b": false, "{}": false, "a;b": false, "%41": false, "a=b": false,
	} {
		for _, path := range []string{"/healthz", "/nothing", "/api/me/"} {
			got := s.call(http.MethodGet, path, nil, withHeader("X-Request-Id", id)).header.Get("X-Request-Id")
			if _, err := uuid.Parse(got); isSane != (got == id) || !isSane && err != nil {
				t.Errorf("%s: %.40q became %q", path, id, got)
			}
		}
	}
	// Ours are all different.
	if one, two := s.call(http.MethodGet, "/healthz", nil), s.call(http.MethodGet, "/healthz", nil); one.header.Get("X-Request-Id") == two.header.Get("X-Request-Id") {
		t.Error("two requests have the same request ID")
	}
}

// Only pages of allowed origins may read responses; others get no CORS headers.
func TestCORSAllowsOnlyTheAllowedOrigins(t *testing.T) {
	t.Parallel()
	s := serveWith(t, settings{origins: []string{"https://shop.example", "https://*.shops.example", "capacitor://localhost", "null"}})
	alice := s.organization().as("alice", auth.Chat)
	for origin, isAllowed := range map[string]bool{
		"https://shop.example": true, "https://evil.example": false, "http://shop.example": false, "https://shop.example.evil.example": false,
		"https://a.shops.example": true, "https://shops.example": false, "capacitor://localhost": true, "null": true,
	} {
		want := ""
		if isAllowed {
			want = origin
		}
		for _, got := range []answer{
			alice.call(http.MethodGet, "/api/me/", nil, withHeader("Origin", origin)),
			s.call(http.MethodGet, "/api/me/", nil, withHeader("Origin", origin)),
			s.call(http.MethodGet, "/nothing", nil, withHeader("Origin", origin)),
			s.call(http.MethodPut, "/api/me/", nil, withHeader("Origin", origin)),
			s.call(http.MethodOptions, "/api/conversations/start", nil, withHeader("Origin", origin), withHeader("Access-Control-Request-Method", "POST"), withHeader("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")),
		} {
			if got.header.Get("Access-Control-Allow-Origin") != want {
				t.Errorf("%s from %s: Access-Control-Allow-Origin is %q", got.request, origin, got.header.Get("Access-Control-Allow-Origin"))
			}
			exposed := strings.Split(got.header.Get("Access-Control-Expose-Headers"), ",")
			if isAllowed && !strings.HasPrefix(got.request, "OPTIONS") && slices.ContainsFunc(
				[]string{"X-Request-Id", "X-Run-Id", "Idempotency-Replayed", "Retry-After", "RateLimit", "RateLimit-Policy", "Content-Disposition"},
				func(name string) bool { return !slices.Contains(exposed, name) },
			) {
				t.Errorf("%s exposes %v", got.request, exposed)
			}
		}
	}
}

// Without allowed origins, responses have no CORS headers.
func TestCORSIsDisabledWithoutAllowedOrigins(t *testing.T) {
	t.Parallel()
	got := serve(t).call(http.MethodGet, "/healthz", nil, withHeader("Origin", "https://shop.example"))
	if got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", got.header)
	}
}

// The Accept header never causes a refusal.
func TestAcceptHeaderNeverCausesARefusal(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for _, accept := range []string{"application/xml", "text/event-stream", "image/*;q=0", "nonsense", ""} {
		alice.call(http.MethodGet, "/api/me/", nil, withHeader("Accept", accept)).wantStatus(200)
		alice.call(http.MethodPost, completions, object{"message": object{"content": "Hi"}}, withHeader("Accept", accept)).wantStatus(200)
		alice.call(http.MethodGet, "/nothing", nil, withHeader("Accept", accept)).wantProblem(404, "not_found", "")
	}
}

// Who ends the connection, or only their half of it, while an answer is being made gets none, and no empty one that says 200.
func TestDisconnectedClientsReceiveNoResponse(t *testing.T) {
	t.Parallel()
	s := serve(t)
	me := s.organization().as("me", auth.Manage)
	me.get("/api/chatbots/")
	tx := must(s.sql.Begin(t.Context()))
	defer func() { must(0, tx.Rollback(t.Context())) }()
	must(tx.Exec(t.Context(), "LOCK TABLE bots IN ACCESS EXCLUSIVE MODE"))
	conn := must(new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))).(*net.TCPConn)
	defer conn.Close()
	must(fmt.Fprintf(conn, "GET /api/chatbots/ HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key %s\r\n\r\n", me.key))
	eventually(t, "the request waits", func() bool {
		return query[bool](s, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'bots'::regclass AND NOT granted)")
	})
	must(0, conn.CloseWrite())
	must(0, conn.SetDeadline(time.Now().Add(responseTimeout)))
	if heard := must(io.ReadAll(conn)); len(heard) > 0 {
		t.Errorf("the response is %q", heard)
	}
}
