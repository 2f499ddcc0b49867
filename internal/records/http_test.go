package records_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/bottest"
	"parley/internal/contracttest"
	"parley/internal/httpapi"
	"parley/internal/ratelimit"
)

// apiFixture serves the API on a fixture's records, with a key that may read them.
type apiFixture struct {
	*fixture
	url string
	key string
}

func newAPIFixture(t *testing.T) apiFixture {
	t.Helper()
	f := newFixture(t)
	keys := auth.New(f.store)
	handler, err := httpapi.New(httpapi.Config{
		Auth: keys, Bots: bottest.New(f.store, nil), Records: f.records, Log: slog.New(slog.DiscardHandler),
		Limiter: ratelimit.New(ratelimit.Limits{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	a := apiFixture{fixture: f, url: server.URL}
	a.key = a.newKey(keys, auth.RecordsRead)
	return a
}

func (a apiFixture) newKey(keys *auth.Auth, scope auth.Scope) string {
	a.t.Helper()
	_, key, err := keys.CreateKey(a.t.Context(), a.organization, auth.NewKey{Name: "Key", User: "Alex", Scopes: []auth.Scope{scope}})
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// get requests a path below /api/chatbots/, by default for January. The caller reads and closes the response body.
func (a apiFixture) get(ctx context.Context, path string, parameters ...string) *http.Response {
	a.t.Helper()
	query := url.Values{"startDate": {"2025-01-01"}, "endDate": {"2025-01-31"}}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/api/chatbots/"+path+"?"+query.Encode(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Api-Key "+a.key)
	response, err := (&http.Client{Transport: contracttest.New(a.t, http.DefaultTransport)}).Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { response.Body.Close() })
	return response
}

// path returns the path of a chatbot's resource.
func (a apiFixture) path(resource string) string { return a.bot.String() + "/" + resource }

// readJSON decodes a response whose status must be 200.
func readJSON(t *testing.T, response *http.Response, into any) {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, want 200: %s", response.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatal(err)
	}
}

type listed struct {
	Count          int
	Next, Previous *string
	Results        []map[string]any
}

func TestAPIListExportAndStatisticsAgree(t *testing.T) {
	t.Parallel()
	a := newAPIFixture(t)
	a.add(
		db.Record{CreatedAt: noon, InputMessage: "100% Refund", FaithfulnessScore: new(2.0 / 3), ReplyTime: new(0.5), Feedback: new("like")},
		db.Record{CreatedAt: noon.Add(time.Second), InputMessage: "100 refunds", Status: "failed", Type: "Follow", Error: new("The model failed.")},
		db.Record{CreatedAt: time.Date(2025, 1, 31, 16, 0, 0, 0, time.UTC), InputMessage: "February in Taipei"},
	)
	for _, c := range []struct {
		want       int
		parameters []string
	}{
		{3, nil},
		{2, []string{"timezone", "Asia/Taipei"}},
		{1, []string{"userMessage", "100% REFUND"}},
		{0, []string{"botMessage", "nothing"}},
	} {
		var list listed
		readJSON(t, a.get(t.Context(), a.path("records/"), c.parameters...), &list)
		file, err := io.ReadAll(a.get(t.Context(), a.path("records/export-excel/"), c.parameters...).Body)
		if err != nil {
			t.Fatal(err)
		}
		rows := openBook(t, file).rows("Records")
		if list.Count != c.want || len(list.Results) != c.want || len(rows) != 1+c.want {
			t.Errorf("%v: the list counts %d records and has %d, the export has %d; want %d", c.parameters, list.Count, len(list.Results), len(rows)-1, c.want)
		}
		if len(c.parameters) > 0 && c.parameters[0] != "timezone" {
			continue
		}
		var statistics struct {
			Timezone string
			Totals   struct{ Records int }
			Days     []any
		}
		readJSON(t, a.get(t.Context(), a.path("statistics/"), c.parameters...), &statistics)
		if statistics.Totals.Records != c.want || len(statistics.Days) != 31 {
			t.Errorf("%v: the statistics have %d records and %d days", c.parameters, statistics.Totals.Records, len(statistics.Days))
		}
		if want := append(c.parameters, "timezone", "UTC")[1]; statistics.Timezone != want {
			t.Errorf("the time zone is %s, want %s", statistics.Timezone, want)
		}
	}

	var list listed
	readJSON(t, a.get(t.Context(), a.path("records/"), "pageSize", "1", "page", "3"), &list)
	if list.Next != nil || list.Previous == nil || !strings.Contains(*list.Previous, "page=2") {
		t.Errorf("the last page links to %v and %v", list.Next, list.Previous)
	}
	for field, want := range map[string]any{
		"inputMessage": "100% Refund", "faithfulnessScore": 2.0 / 3, "displayFaithfulnessScore": "0.67", "contextRecallScore": nil,
		"displayContextRecallScore": "", "replyTime": 0.5, "feedback": "like", "error": nil, "type": "New", "status": "completed",
		"createdAt": "2025-01-15T12:00:00.000000Z", "askedAt": "2025-01-15T11:59:59.000000Z", "conversation": a.session.String(),
	} {
		if got := list.Results[0][field]; got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
}

func TestInvalidRequestsAreRefusedBeforeTheExport(t *testing.T) {
	t.Parallel()
	a := newAPIFixture(t)
	other := newAPIFixture(t)
	for _, resource := range []string{"records/", "records/export-excel/", "records/export/", "statistics/"} {
		for name, c := range map[string]struct {
			status     int
			parameters []string
		}{
			"missing start":     {http.StatusBadRequest, []string{"startDate", ""}},
			"invalid date":      {http.StatusBadRequest, []string{"endDate", "2025-02-30"}},
			"end before start":  {http.StatusBadRequest, []string{"endDate", "2024-12-31"}},
			"unknown time zone": {http.StatusBadRequest, []string{"timezone", "Mars/Olympus"}},
			"local time zone":   {http.StatusBadRequest, []string{"timezone", "Local"}},
			"empty time zone":   {http.StatusBadRequest, []string{"timezone", ""}},
		} {
			if got := a.get(t.Context(), a.path(resource), c.parameters...); got.StatusCode != c.status {
				t.Errorf("%s, %s: status %d, want %d", resource, name, got.StatusCode, c.status)
			}
		}
		for name, bot := range map[string]string{"unknown": id().String(), "another organization's": other.bot.String(), "invalid slug": "No Slug"} {
			if got := a.get(t.Context(), url.PathEscape(bot)+"/"+resource); got.StatusCode != http.StatusNotFound {
				t.Errorf("%s, chatbot %s: status %d, want 404", resource, name, got.StatusCode)
			}
		}
		weak := a
		weak.key = a.newKey(auth.New(a.store), auth.Chat)
		if got := weak.get(t.Context(), a.path(resource)); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s without the scope: status %d, want 403", resource, got.StatusCode)
		}
	}
	if got := a.get(t.Context(), a.path("records/export-excel/"), "locale", "fr"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("unknown locale: status %d, want 400", got.StatusCode)
	}
	if got := a.get(t.Context(), a.path("statistics/"), "endDate", "2026-01-02"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("statistics of 367 days: status %d, want 400", got.StatusCode)
	}
	if got := a.get(t.Context(), a.path("records/"), "page", "2"); got.StatusCode != http.StatusNotFound {
		t.Errorf("page beyond the last: status %d, want 404", got.StatusCode)
	}
}

func TestExportFileNameIsSafe(t *testing.T) {
	t.Parallel()
	a := newAPIFixture(t)
	a.exec("UPDATE bots SET slug = 'support'")
	for name, want := range map[string]string{
		"Parley":                     "Parley",
		"客服 🙂":                       "客服 🙂",
		`A"; filename="x.exe`:        `A-; filename=-x.exe`,
		"a\r\nSet-Cookie: b=c":       "a--Set-Cookie- b=c",
		`../..\etc/passwd`:           "..-..-etc-passwd",
		"\u202excod.exe":             "-xcod.exe",
		"100% 'quoted' (a+b) = c; d": "100% 'quoted' (a+b) = c; d",
	} {
		a.exec("UPDATE bots SET name = $1", name)
		response := a.get(t.Context(), "support/records/export-excel/")
		if kind := response.Header.Get("Content-Type"); kind != "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" {
			t.Errorf("the content type is %q", kind)
		}
		header := response.Header.Get("Content-Disposition")
		// Scripts read the text after "filename=".
		encoded, plain, _ := strings.Cut(header, "; filename=")
		if plain != `"support_2025-01-01_2025-01-31.xlsx"` || !strings.HasPrefix(encoded, "attachment; filename*=UTF-8''") {
			t.Errorf("%q: the plain file name is %s", name, plain)
		}
		// The mime package prefers the encoded name.
		kind, parsed, err := mime.ParseMediaType(header)
		if got := parsed["filename"]; err != nil || kind != "attachment" || got != want+"_2025-01-01_2025-01-31.xlsx" {
			t.Errorf("%q: the file name is %q (%v) in %s", name, got, err, encoded)
		}
		if response.Header.Get("Set-Cookie") != "" {
			t.Errorf("%q: the name injected a header", name)
		}
	}
}

// lock locks the records exclusively until unlock is called or the test ends.
func (f *fixture) lock() (unlock func()) {
	f.t.Helper()
	other, err := f.sql.Begin(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	unlock = func() { other.Rollback(context.WithoutCancel(f.t.Context())) }
	f.t.Cleanup(unlock)
	if _, err := other.Exec(f.t.Context(), "LOCK TABLE records IN ACCESS EXCLUSIVE MODE"); err != nil {
		f.t.Fatal(err)
	}
	return unlock
}

// exportPaths are the exports. The first byte of each is sent before the first record is read.
var exportPaths = []string{"records/export-excel/", "records/export/"}

func TestFailedExportIsTruncated(t *testing.T) {
	t.Parallel()
	for _, path := range exportPaths {
		a := newAPIFixture(t)
		a.add(db.Record{CreatedAt: noon})
		// given an export that has started and waits for the first record
		a.lock()
		response := a.get(t.Context(), a.path(path))
		first := make([]byte, 1)
		if _, err := io.ReadFull(response.Body, first); err != nil {
			t.Fatal(err)
		}
		a.eventually("the export waits", func() bool { return a.busy() == 1 })
		// when
		a.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ListRecordsBefore%' AND pid <> pg_backend_pid()")
		// then
		rest, err := io.ReadAll(response.Body)
		if err == nil {
			t.Errorf("%s: the transfer ended normally", path)
		}
		expectBroken(t, bytes.Join([][]byte{first, rest}, nil))
	}
}

// HTTP/1.0, which some proxies use, has no chunks: closing the connection ends the file. After an error, the
// connection must therefore be reset.
func TestFailedExportResetsAnHTTP10Connection(t *testing.T) {
	t.Parallel()
	for _, path := range exportPaths {
		a := newAPIFixture(t)
		a.add(db.Record{CreatedAt: noon})
		a.lock()
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /api/chatbots/%s?startDate=2025-01-01&endDate=2025-01-31 HTTP/1.0\r\nAuthorization: Api-Key %s\r\n\r\n", a.path(path), a.key)
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.0 200 OK"))); err != nil {
			t.Fatal(err)
		}
		a.eventually("the export waits", func() bool { return a.busy() == 1 })
		a.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ListRecordsBefore%' AND pid <> pg_backend_pid()")
		if _, err := io.ReadAll(conn); err == nil {
			t.Errorf("%s: the transfer ended normally", path)
		}
	}
}

func TestDisconnectedClientCancelsItsQuery(t *testing.T) {
	t.Parallel()
	for _, path := range exportPaths {
		a := newAPIFixture(t)
		a.add(db.Record{CreatedAt: noon})
		a.lock()
		ctx, disconnect := context.WithCancel(t.Context())
		a.get(ctx, a.path(path))
		a.eventually("the export waits", func() bool { return a.busy() == 1 })
		disconnect()
		start := time.Now()
		a.eventually("the query is gone", func() bool { return a.busy() == 0 })
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: canceling took %v", path, took)
		}
	}
}
