package httpapi_test

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"parley/internal/auth"
)

const (
	recordsPath    = "/api/chatbots/parley/records/"
	exportPath     = recordsPath + "export-excel/"
	linesPath      = recordsPath + "export/"
	statisticsPath = "/api/chatbots/parley/statistics/"
)

// withDays adds days to a query that span the whole test.
func withDays(query string) string {
	return "?" + strings.TrimSuffix("startDate="+dayParameters["startDate"]+"&endDate="+dayParameters["endDate"]+"&"+query, "&")
}

// listRecords returns a page of the default bot's records.
func (c caller) listRecords(query string) object {
	c.t.Helper()
	return c.get(recordsPath + withDays(query))
}

// exportRows returns the rows of the worksheet Records.
func (c caller) exportRows(query string) [][]string {
	c.t.Helper()
	return c.exportRowsFrom(exportPath + query)
}

func (c caller) exportRowsFrom(path string) [][]string {
	c.t.Helper()
	got := c.call(http.MethodGet, path, nil)
	if got.status != http.StatusOK {
		c.t.Fatalf("%s: %d %s", got.request, got.status, got.body)
	}
	book, err := excelize.OpenReader(bytes.NewReader(got.body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer book.Close()
	return must(book.GetRows("Records", excelize.Options{RawCellValue: true}))
}

// createExchanges sends four questions to the default bot in two conversations, cancels the last one, and returns their
// runs.
func (o organization) createExchanges() (alice caller, ids []string) {
	o.t.Helper()
	alice = o.as("alice", auth.Chat, auth.RecordsRead)
	first, second := alice.startConversation(), alice.startConversation()
	for _, asked := range [][2]string{{first, question}, {first, "=1+1"}, {second, "100% or under_score 請問如何申請退款？"}} {
		ids = append(ids, text(alice.ask(asked[0], asked[1]), "run_id"))
	}
	release := o.blockReplies()
	cancelled := text(alice.sendMessage(second, "Never mind"), "run_id")
	alice.call(http.MethodPost, "/api/runs/"+cancelled+"/cancel/", nil)
	release()
	alice.awaitRun(cancelled)
	return alice, append(ids, cancelled)
}

// A record describes its exchange: its texts, its times and its place in the conversation.
func TestRecordsDescribeTheirExchange(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, ids := o.createExchanges()
	page := alice.listRecords("")
	list := objects(page, "results")
	slices.Reverse(ids)
	if got := idsOf(list); !slices.Equal(got, ids) || number(page, "count") != len(ids) || page["next"] != nil || page["previous"] != nil {
		t.Fatalf("the records are %v, the runs %v", page, ids)
	}
	slices.Reverse(list)
	var kinds []string
	for _, record := range list {
		kinds = append(kinds, text(record, "type"))
		run := alice.get("/api/runs/" + text(record, "id") + "/")
		asked := alice.get("/api/messages/" + text(run, "questionId") + "/")
		if record["conversation"] != run["conversation"] || record["inputMessage"] != asked["content"] || record["askedAt"] != asked["createdAt"] ||
			record["createdAt"] != run["finishedAt"] || record["status"] != run["state"] {
			t.Errorf("the record %v, the run %v, the question %v", record, run, asked)
		}
		for name, value := range record {
			switch {
			case strings.HasPrefix(name, "display") && value != "":
				t.Errorf("%s is %v", name, value)
			case strings.HasSuffix(name, "Score") && !strings.HasPrefix(name, "display") && value != nil:
				t.Errorf("%s is %v", name, value)
			}
		}
	}
	if !slices.Equal(kinds, []string{"New", "Follow", "New", "Follow"}) {
		t.Errorf("the types are %v", kinds)
	}
	if first := list[0]; first["outputMessage"] != longAnswer || !strings.Contains(text(first, "context"), longAnswer) || first["replyTime"] == nil || first["error"] != nil || first["feedback"] != nil {
		t.Errorf("%v", first)
	}
	o.exec("UPDATE records SET faithfulness_score = 0.9, context_recall_score = 0.005, feedback = 'dislike', status = 'failed', error = 'x' WHERE id = $1", ids[0])
	got := objects(alice.listRecords("pageSize=1"), "results")[0]
	if shown := fmt.Sprint(got["faithfulnessScore"], got["displayFaithfulnessScore"], got["displayContextRecallScore"], got["feedback"], got["error"]); shown != fmt.Sprint("0.9", "0.90", "0.01", "dislike", "x") {
		t.Errorf("%v", got)
	}
}

// Filters, days and time zones select the same records in the list, the export and the statistics.
func TestListExportAndStatisticsSelectTheSameRecords(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, ids := o.createExchanges()
	// The first record is old, and its day differs in an eastern time zone.
	o.exec("UPDATE records SET created_at = '2026-01-15T23:30:00.999999Z' WHERE id = $1", ids[0])
	o.exec("UPDATE records SET feedback = 'like' WHERE id = $1", ids[1])
	first := text(alice.get("/api/runs/"+ids[0]+"/"), "conversation")
	for query, want := range map[string]int{
		withDays(""): 3, withDays("userMessage=UNDER_"): 1, withDays("userMessage=%25"): 1, withDays("userMessage=0_or"): 0, withDays("userMessage=%E9%80%80%E6%AC%BE"): 1,
		withDays("status=completed"): 2, withDays("status=cancelled"): 1, withDays("status=failed"): 0, withDays("status=cancelled&type=New"): 0,
		withDays("feedback=like"): 1, withDays("feedback=dislike"): 0, withDays("feedback=none"): 2, withDays("feedback=none&status=completed"): 1,
		withDays("type=New"): 1, withDays("type=Follow"): 2, withDays("conversation=" + first): 1, withDays("conversation=" + first + "&type=New"): 0,
		withDays("botMessage=know"): 1, withDays("botMessage=KNOW&userMessage=1%2B1"): 1, withDays("botMessage=nothing+of+it"): 0,
		"?startDate=2026-01-15&endDate=2026-01-15":                                                1,
		"?startDate=2026-01-15&endDate=2026-01-15&timezone=UTC":                                   1,
		"?startDate=2026-01-15&endDate=2026-01-15&timezone=Asia/Taipei":                           0,
		"?startDate=2026-01-16&endDate=2026-01-16&timezone=Asia/Taipei":                           1,
		"?startDate=2026-01-14&endDate=2026-01-14":                                                0,
		"?startDate=2026-01-16&endDate=2026-01-17":                                                0,
		"?startDate=2026-01-15&endDate=2026-01-15&timezone=America/New_York&userMessage=password": 1,
	} {
		list := alice.get(recordsPath + query)
		found := idsOf(objects(list, "results"))
		if number(list, "count") != want || len(found) != want {
			t.Errorf("%s: the list has %d records of %d, want %d", query, len(found), number(list, "count"), want)
		}
		rows := alice.exportRows(query)
		var written []string
		for _, row := range rows[1:] {
			written = append(written, row[0])
		}
		if !slices.Equal(written, found) {
			t.Errorf("%s: the export has %v, the list %v", query, written, found)
		}
		if lines := alice.exportLines(query); fmt.Sprint(lines) != fmt.Sprint(objects(list, "results")) {
			t.Errorf("%s: the lines are %v, the list %v", query, lines, list)
		}
		if strings.Count(query, "=") > 2+strings.Count(query, "timezone=") {
			continue
		}
		statistics := alice.get(statisticsPath + query)
		if got := number(statistics["totals"].(object), "records"); got != want {
			t.Errorf("%s: the statistics count %d, want %d", query, got, want)
		}
	}
	page := alice.listRecords("pageSize=2&page=2")
	if len(objects(page, "results")) != 1 || number(page, "count") != 3 || page["next"] != nil || alice.get(text(page, "previous"))["previous"] != nil {
		t.Errorf("%v", page)
	}
	for _, query := range []string{"pageSize=3&page=2", "page=2", "page=2&userMessage=nothing+of+it"} {
		alice.call(http.MethodGet, recordsPath+withDays(query), nil).wantProblem(404, "not_found", "")
	}
	// Another bot has no records.
	other := text(o.as("admin", auth.Admin).post("/api/chatbots/", object{"name": "Another"}), "id")
	if got := alice.get("/api/chatbots/" + other + "/records/" + withDays("")); number(got, "count") != 0 {
		t.Errorf("the statistics of another bot are %v", got)
	}
}

// The days must be dates in order, in a known time zone, for each of the three operations.
func TestDateRangesAreValidated(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.RecordsRead)
	for _, path := range []string{recordsPath, exportPath, linesPath, statisticsPath} {
		for query, where := range map[string]string{
			"":                     "startDate",
			"startDate=2026-01-15": "endDate",
			"endDate=2026-01-15":   "startDate",
			"startDate=2026-01-15&endDate=2026-01-14":                       "endDate",
			"startDate=2026-02-29&endDate=2026-03-01":                       "startDate",
			"startDate=2026-01-15&endDate=2026-01-15T1":                     "endDate",
			"startDate=2026-01-15&endDate=2026-01-15&timezone=Mars/Olympus": "timezone",
			"startDate=2026-01-15&endDate=2026-01-15&timezone=Local":        "timezone",
		} {
			if err := alice.call(http.MethodGet, path+"?"+query, nil).checkProblem(400, "invalid_request", where); err != nil {
				t.Error(err)
			}
		}
		if got := alice.call(http.MethodGet, path+"?startDate=2024-01-01&endDate=2024-12-31", nil); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	alice.call(http.MethodGet, statisticsPath+"?startDate=2024-01-01&endDate=2025-01-01", nil).wantProblem(400, "invalid_request", "endDate")
}

// The export is a workbook with a header in the caller's language and a row for each record. It contains no formulas.
func TestExcelExportIsAWorkbook(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, _ := o.createExchanges()
	for locale, want := range map[string]string{
		"":             "ID|User input|Condensed input|Type|Reference|Output|Faithfulness|Answer relevancy|Answer correctness|Answer similarity|Context precision|Context recall|Reply time (s)|Created at|Model|Prompt tokens|Completion tokens|Cached tokens|Reasoning tokens",
		"locale=en":    "ID|User input|Condensed input|Type|Reference|Output|Faithfulness|Answer relevancy|Answer correctness|Answer similarity|Context precision|Context recall|Reply time (s)|Created at|Model|Prompt tokens|Completion tokens|Cached tokens|Reasoning tokens",
		"locale=zh-TW": "ID|用戶輸入訊息|修飾輸入訊息|型態|參考資料|輸出訊息|誠實性評分|回答相關性評分|回答正確性評分|回答相似性評分|參考資料相關性評分|參考資料召回率評分|回覆花費時間|建立時間|模型|輸入 Token 數|輸出 Token 數|快取 Token 數|推理 Token 數",
	} {
		if header := strings.Join(alice.exportRows(withDays(locale))[0], "|"); header != want {
			t.Errorf("%q: the header is %s", locale, header)
		}
	}
	rows := alice.exportRows(withDays(""))[1:]
	for i, record := range objects(alice.listRecords(""), "results") {
		row := rows[i]
		for column, field := range map[int]string{0: "id", 1: "inputMessage", 2: "condenseMessage", 3: "type", 4: "context", 5: "outputMessage", 12: "replyTime"} {
			want := ""
			if record[field] != nil {
				want = fmt.Sprint(record[field])
			}
			if row[column] != want {
				t.Errorf("%s of row %d is %q, want %q", field, i, row[column], want)
			}
		}
	}
	got := alice.call(http.MethodGet, exportPath+withDays("timezone=Asia/Taipei"), nil)
	book := must(excelize.OpenReader(bytes.NewReader(got.body)))
	defer book.Close()
	if formula := must(book.GetCellFormula("Records", "B4")); formula != "" || must(book.GetCellValue("Records", "B4")) != "=1+1" {
		t.Errorf("B4 is the formula %q, %q", formula, must(book.GetCellValue("Records", "B4")))
	}
	created := must(time.Parse(time.RFC3339Nano, text(objects(alice.listRecords(""), "results")[0], "createdAt")))
	taipei := must(time.LoadLocation("Asia/Taipei"))
	if shown := must(book.GetCellValue("Records", "N2")); shown != created.In(taipei).Format(time.DateTime) {
		t.Errorf("N2 is %q, created %v", shown, created.In(taipei))
	}
}

// The file has an ASCII name for all clients, and its full name for clients that support it.
func TestExportsHaveFileNames(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.as("admin", auth.Admin).post("/api/chatbots/", object{"name": "客服/\"Bot\"\r\n", "slug": "support"})
	got := o.as("reader", auth.RecordsRead).call(http.MethodGet, "/api/chatbots/support/records/export-excel/?startDate=2026-01-15&endDate=2026-01-31", nil)
	header := got.header.Get("Content-Disposition")
	kind, parameters, err := mime.ParseMediaType(header)
	if got.status != 200 || err != nil || kind != "attachment" || !strings.Contains(header, `filename="support_2026-01-15_2026-01-31.xlsx"`) {
		t.Fatalf("%d, %q: %v", got.status, header, err)
	}
	if name := parameters["filename"]; !strings.HasPrefix(name, "客服--Bot-") || !strings.HasSuffix(name, "_2026-01-15_2026-01-31.xlsx") || strings.ContainsAny(name, "\r\n\"/") {
		t.Errorf("the name is %q", name)
	}
	if got.header.Get("Content-Type") != "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", got.header)
	}
}

// Statistics have an entry for each day, and totals.
func TestStatisticsHaveAnEntryForEachDay(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, ids := o.createExchanges()
	o.exec("UPDATE records SET feedback = 'like' WHERE id = $1", ids[0])
	o.exec("UPDATE records SET feedback = 'dislike', status = 'failed', error = 'x' WHERE id = $1", ids[1])
	got := alice.get(statisticsPath + withDays("timezone=Asia/Taipei"))
	entries := objects(got, "days")
	if got["timezone"] != "Asia/Taipei" || got["startDate"] != dayParameters["startDate"] || got["endDate"] != dayParameters["endDate"] || len(entries) != 5 {
		t.Fatalf("%v", got)
	}
	totals := got["totals"].(object)
	sums := map[string]int{}
	for i, entry := range entries {
		if want := must(time.Parse(time.DateOnly, dayParameters["startDate"])).AddDate(0, 0, i).Format(time.DateOnly); entry["date"] != want {
			t.Errorf("day %d is %v", i, entry["date"])
		}
		for _, name := range []string{"conversations", "messages", "records", "failures", "likes", "dislikes", "promptTokens", "completionTokens"} {
			sums[name] += number(entry["figures"].(object), name)
		}
	}
	messages := len(objects(alice.get("/api/messages/?pageSize=100"), "results"))
	for name, want := range map[string]int{
		"conversations": 2, "messages": messages, "records": number(alice.listRecords("timezone=Asia/Taipei"), "count"), "failures": 1, "likes": 1, "dislikes": 1, "promptTokens": 0, "completionTokens": 0,
	} {
		if number(totals, name) != want || sums[name] != want {
			t.Errorf("%s: the total is %v, the sum of the days %d, want %d", name, totals[name], sums[name], want)
		}
	}
	if totals["meanReplyTime"] == nil || totals["p95ReplyTime"] == nil || totals["meanTimeToFirstToken"] == nil {
		t.Errorf("%v", totals)
	}
	quiet := alice.get(statisticsPath + "?startDate=2026-01-15&endDate=2026-01-15")
	if len(objects(quiet, "days")) != 1 || quiet["timezone"] != "UTC" || quiet["totals"].(object)["meanReplyTime"] != nil {
		t.Errorf("%v", quiet)
	}
}

// Usage is returned with runs, records, exports and statistics. Stateless completions are counted per key, chatbot
// and day.
func TestUsageIsCounted(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.withModel(serveModel(t, streamGoodDay))
	alice := o.as("alice", auth.Chat)
	wanted := object{"promptTokens": 120, "completionTokens": 7, "totalTokens": 127}
	answer := alice.call(http.MethodPost, completions, completionBody(question, false)).wantStatus(200)
	run := alice.get("/api/runs/" + text(answer, "runId") + "/")
	record := objects(admin.listRecords(""), "results")[0]
	for what, got := range map[string]object{"completion": answer, "run": run, "record": record} {
		if !sameJSON(t, got["usage"], wanted) {
			t.Errorf("%s: usage is %v", what, got["usage"])
		}
	}
	if row := admin.exportRows(withDays(""))[1]; row[15] != "120" || row[16] != "7" {
		t.Errorf("the export's row is %q", row)
	}
	totals := admin.get(statisticsPath + withDays(""))["totals"].(object)
	if number(totals, "promptTokens") != 120 || number(totals, "completionTokens") != 7 || number(totals, "cachedTokens") != 0 || number(totals, "reasoningTokens") != 0 {
		t.Errorf("the totals are %v", totals)
	}

	path := "/api/stateless-usage/" + withDays("")
	if got := admin.get(path); number(got, "count") != 0 {
		t.Errorf("before any stateless completion: %v", got)
	}
	for range 3 {
		alice.completeChat(chatBody("Hello?"))
	}
	o.expectFailures()
	o.withModel(serveModel(t, failing))
	alice.call(http.MethodPost, chatCompletions, chatBody("Hello?")).wantStatus(502)
	var got []object
	eventually(t, "all completions are counted", func() bool {
		got = objects(admin.get(path), "results")
		return len(got) == 1 && number(got[0], "completions") == 4
	})
	usage := got[0]
	if key := usage["apiKey"].(object); key["user"] != "alice" || usage["chatbot"].(object)["id"] != o.bot.ID.String() ||
		number(usage, "failures") != 1 || number(usage, "promptTokens") != 360 || number(usage, "completionTokens") != 21 {
		t.Errorf("the usage is %v", usage)
	}
	if other := o.server.organization().as("admin", auth.Admin).get(path); number(other, "count") != 0 {
		t.Errorf("another organization reads %v", other)
	}
	alice.call(http.MethodGet, path, nil).wantProblem(403, "forbidden", "")
	admin.call(http.MethodGet, "/api/stateless-usage/?startDate=2026-01-15&endDate=2026-01-14", nil).wantProblem(400, "invalid_request", "endDate")
	admin.call(http.MethodGet, path+"&page=2", nil).wantProblem(404, "not_found", "")

	// The usage of a revoked key is kept.
	admin.call(http.MethodDelete, "/api/api-keys/"+text(usage["apiKey"].(object), "id")+"/", nil).wantStatus(204)
	if key := objects(admin.get(path), "results")[0]["apiKey"].(object); key["name"] != nil || key["user"] != nil || key["id"] != usage["apiKey"].(object)["id"] {
		t.Errorf("the revoked key is %v", key)
	}
}
