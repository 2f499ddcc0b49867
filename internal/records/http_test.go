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

// door is the REST door before a world's records, with a key that may read them.
type door struct {
	*world
	url string
	key string
}

func open(t *testing.T) door {
	t.Helper()
	w := newWorld(t)
	keys := auth.New(w.store)
	handler, err := httpapi.New(httpapi.Config{
		Auth: keys, Bots: bottest.New(w.store, nil), Records: w.records, Log: slog.New(slog.DiscardHandler),
		Limiter: ratelimit.New(ratelimit.Limits{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(handler)
	t.Cleanup(listening.Close)
	d := door{world: w, url: listening.URL}
	d.key = d.newKey(keys, auth.RecordsRead)
	return d
}

func (d door) newKey(keys *auth.Auth, scope auth.Scope) string {
	d.t.Helper()
	_, key, err := keys.CreateKey(d.t.Context(), d.organization, auth.NewKey{Name: "Key", User: "Alex", Scopes: []auth.Scope{scope}})
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// get asks for something of the chatbot; the answer's body is the test's to read.
func (d door) get(ctx context.Context, what string, parameters ...string) *http.Response {
	d.t.Helper()
	query := url.Values{"startDate": {"2025-01-01"}, "endDate": {"2025-01-31"}}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/api/chatbots/"+what+"?"+query.Encode(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Api-Key "+d.key)
	response, err := (&http.Client{Transport: contracttest.New(d.t, http.DefaultTransport)}).Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { response.Body.Close() })
	return response
}

func (d door) of(what string) string { return d.bot.String() + "/" + what }

// readJSON reads an answer that must be a 200.
func readJSON(t *testing.T, response *http.Response, into any) {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s", response.StatusCode, body)
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

func TestOverHTTPTheThreeSpeakOfTheSameRows(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.add(
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
		readJSON(t, d.get(t.Context(), d.of("records/"), c.parameters...), &list)
		file, err := io.ReadAll(d.get(t.Context(), d.of("records/export-excel/"), c.parameters...).Body)
		if err != nil {
			t.Fatal(err)
		}
		rows := openBook(t, file).rows("Records")
		if list.Count != c.want || len(list.Results) != c.want || len(rows) != 1+c.want {
			t.Errorf("%v: the list counts %d, has %d, the export %d, want %d", c.parameters, list.Count, len(list.Results), len(rows)-1, c.want)
		}
		if len(c.parameters) > 0 && c.parameters[0] != "timezone" {
			continue
		}
		var statistics struct {
			Timezone string
			Totals   struct{ Records int }
			Days     []any
		}
		readJSON(t, d.get(t.Context(), d.of("statistics/"), c.parameters...), &statistics)
		if statistics.Totals.Records != c.want || len(statistics.Days) != 31 {
			t.Errorf("%v: the statistics have %d records and %d days", c.parameters, statistics.Totals.Records, len(statistics.Days))
		}
		if want := append(c.parameters, "timezone", "UTC")[1]; statistics.Timezone != want {
			t.Errorf("the time zone is %s, not %s", statistics.Timezone, want)
		}
	}

	var list listed
	readJSON(t, d.get(t.Context(), d.of("records/"), "pageSize", "1", "page", "3"), &list)
	if list.Next != nil || list.Previous == nil || !strings.Contains(*list.Previous, "page=2") {
		t.Errorf("the last page's neighbours are %v and %v", list.Next, list.Previous)
	}
	for field, want := range map[string]any{
		"inputMessage": "100% Refund", "faithfulnessScore": 2.0 / 3, "displayFaithfulnessScore": "0.67", "contextRecallScore": nil,
		"displayContextRecallScore": "", "replyTime": 0.5, "feedback": "like", "error": nil, "type": "New", "status": "completed",
		"createdAt": "2025-01-15T12:00:00.000000Z", "askedAt": "2025-01-15T11:59:59.000000Z", "conversation": d.session.String(),
	} {
		if got := list.Results[0][field]; got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
}

func TestWhatCanBeRefusedIsRefusedBeforeTheFile(t *testing.T) {
	t.Parallel()
	d := open(t)
	stranger := open(t)
	for _, what := range []string{"records/", "records/export-excel/", "records/export/", "statistics/"} {
		for name, c := range map[string]struct {
			status     int
			parameters []string
		}{
			"no start":        {http.StatusBadRequest, []string{"startDate", ""}},
			"no such day":     {http.StatusBadRequest, []string{"endDate", "2025-02-30"}},
			"the wrong order": {http.StatusBadRequest, []string{"endDate", "2024-12-31"}},
			"no such zone":    {http.StatusBadRequest, []string{"timezone", "Mars/Olympus"}},
			"the machine's":   {http.StatusBadRequest, []string{"timezone", "Local"}},
			"no zone":         {http.StatusBadRequest, []string{"timezone", ""}},
		} {
			if got := d.get(t.Context(), d.of(what), c.parameters...); got.StatusCode != c.status {
				t.Errorf("%s, %s: %d", what, name, got.StatusCode)
			}
		}
		for name, bot := range map[string]string{"unknown": id().String(), "another organization's": stranger.bot.String(), "no slug": "No Slug"} {
			if got := d.get(t.Context(), url.PathEscape(bot)+"/"+what); got.StatusCode != http.StatusNotFound {
				t.Errorf("%s, a chatbot that is %s: %d", what, name, got.StatusCode)
			}
		}
		weak := d
		weak.key = d.newKey(auth.New(d.store), auth.Chat)
		if got := weak.get(t.Context(), d.of(what)); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s without the scope: %d", what, got.StatusCode)
		}
	}
	if got := d.get(t.Context(), d.of("records/export-excel/"), "locale", "fr"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown locale: %d", got.StatusCode)
	}
	if got := d.get(t.Context(), d.of("statistics/"), "endDate", "2026-01-02"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("statistics of 367 days: %d", got.StatusCode)
	}
	if got := d.get(t.Context(), d.of("records/"), "page", "2"); got.StatusCode != http.StatusNotFound {
		t.Errorf("a page beyond the end: %d", got.StatusCode)
	}
}

func TestAFileIsNamedAfterItsChatbotWhateverItIsCalled(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.exec("UPDATE bots SET slug = 'support'")
	for name, want := range map[string]string{
		"Parley":                     "Parley",
		"客服 🙂":                       "客服 🙂",
		`A"; filename="x.exe`:        `A-; filename=-x.exe`,
		"a\r\nSet-Cookie: b=c":       "a--Set-Cookie- b=c",
		`../..\etc/passwd`:           "..-..-etc-passwd",
		"\u202excod.exe":             "-xcod.exe",
		"100% 'quoted' (a+b) = c; d": "100% 'quoted' (a+b) = c; d",
	} {
		d.exec("UPDATE bots SET name = $1", name)
		response := d.get(t.Context(), "support/records/export-excel/")
		if kind := response.Header.Get("Content-Type"); kind != "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" {
			t.Errorf("the type is %q", kind)
		}
		header := response.Header.Get("Content-Disposition")
		plain, encoded, _ := strings.Cut(header, "; filename*=UTF-8''")
		if plain != `attachment; filename="support_2025-01-01_2025-01-31.xlsx"` {
			t.Errorf("%q: the plain name is in %s", name, plain)
		}
		// mime prefers the encoded name.
		kind, parsed, err := mime.ParseMediaType(header)
		if got := parsed["filename"]; err != nil || kind != "attachment" || got != want+"_2025-01-01_2025-01-31.xlsx" {
			t.Errorf("%q: the name is %q (%v) in %s", name, got, err, encoded)
		}
		if response.Header.Get("Set-Cookie") != "" {
			t.Errorf("%q: it has made a header", name)
		}
	}
}

// lock keeps everybody from the records until unlock is called or the test ends.
func (w *world) lock() (unlock func()) {
	w.t.Helper()
	other, err := w.sql.Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	unlock = func() { other.Rollback(context.WithoutCancel(w.t.Context())) }
	w.t.Cleanup(unlock)
	if _, err := other.Exec(w.t.Context(), "LOCK TABLE records IN ACCESS EXCLUSIVE MODE"); err != nil {
		w.t.Fatal(err)
	}
	return unlock
}

// exports are the files that there are, each with a first byte before the first record.
var exports = []string{"records/export-excel/", "records/export/"}

func TestATransferThatFailsIsBrokenOff(t *testing.T) {
	t.Parallel()
	for _, what := range exports {
		d := open(t)
		d.add(db.Record{CreatedAt: noon})
		// given a file whose beginning has come, though no record can be read
		d.lock()
		response := d.get(t.Context(), d.of(what))
		first := make([]byte, 1)
		if _, err := io.ReadFull(response.Body, first); err != nil {
			t.Fatal(err)
		}
		d.eventually("the export waits", func() bool { return d.busy() == 1 })
		// when
		d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ListRecordsBefore%' AND pid <> pg_backend_pid()")
		// then
		rest, err := io.ReadAll(response.Body)
		if err == nil {
			t.Errorf("%s: the transfer ended in order", what)
		}
		expectBroken(t, bytes.Join([][]byte{first, rest}, nil))
	}
}

// HTTP/1.0, which some proxies speak, has no chunks: there the end of the connection is
// that of the file, so it must not end as if all had come.
func TestATransferThatFailsIsBrokenOffForOldProxiesToo(t *testing.T) {
	t.Parallel()
	for _, what := range exports {
		d := open(t)
		d.add(db.Record{CreatedAt: noon})
		d.lock()
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /api/chatbots/%s?startDate=2025-01-01&endDate=2025-01-31 HTTP/1.0\r\nAuthorization: Api-Key %s\r\n\r\n", d.of(what), d.key)
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.0 200 OK"))); err != nil {
			t.Fatal(err)
		}
		d.eventually("the export waits", func() bool { return d.busy() == 1 })
		d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ListRecordsBefore%' AND pid <> pg_backend_pid()")
		if _, err := io.ReadAll(conn); err == nil {
			t.Errorf("%s: the transfer ended in order", what)
		}
	}
}

func TestACallerThatLeavesFreesItsQuery(t *testing.T) {
	t.Parallel()
	for _, what := range exports {
		d := open(t)
		d.add(db.Record{CreatedAt: noon})
		d.lock()
		ctx, leave := context.WithCancel(t.Context())
		d.get(ctx, d.of(what))
		d.eventually("the export waits", func() bool { return d.busy() == 1 })
		leave()
		left := time.Now()
		d.eventually("the query is gone", func() bool { return d.busy() == 0 })
		if took := time.Since(left); took > time.Second {
			t.Errorf("%s: that took %v", what, took)
		}
	}
}
