package conformance

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

func recordChecks() []check {
	return []check{
		ofRecords("records/list", "Each exchange is one record, the first of a conversation New, and the pages have each record once.", checkRecordList),
		ofRecords("records/filters", "Records are filtered by day, text, status and type; an inverted range of days is 400.", checkRecordFilters),
		ofRecords("records/excel", "The Excel export opens and has as many rows as the list has records.", checkExcelExport),
		ofRecords("records/csv", "The CSV export has as many rows as the list has records.", checkCSVExport),
		ofRecords("records/jsonl", "The lines of the JSON Lines export are exactly the records of the list.", checkJSONLinesExport),
		ofRecords("records/export-header", "An export has its media type and a file name in Content-Disposition.", checkExportHeaders),
		ofRecords("records/statistics", "The statistics agree with the list and have an entry for each day.", checkStatistics),
		withScope("records:write", "records/scores", "A score can be set on a record and removed.", checkScores),
	}
}

// The chatbot with records has three exchanges in one conversation, and a failed one.
var recordedQuestions = []string{askAnything, askBrief, askAnything + " 退票 100%"}

const recordedCount = 4

// recorded is a chatbot with records.
type recorded struct {
	bot string
	// isOwn means that the run created the chatbot, with recordedCount records. Otherwise the chatbot belongs to the
	// deployment, and its number of records may increase during a check.
	isOwn bool
}

// maxExported is the maximum number of records for which exports of the deployment's chatbot are checked.
const maxExported = 10_000

// recorded returns a chatbot with records. It is the run's own, created by the first check that needs it, or the
// configured one of the deployment.
func (t *checker) recorded() recorded {
	if !t.isScripted {
		existing := recorded{bot: t.config.Chatbot}
		got := t.owner().get("/api/chatbots/" + existing.bot + "/records/" + days() + "&pageSize=1")
		if got.status == http.StatusNotFound {
			t.skipf("the organization has no chatbot %s; name one with --chatbot", existing.bot)
		}
		if count := got.json(http.StatusOK).num("count"); count > maxExported {
			t.skipf("the chatbot %s has %d records in three days; the check reads at most %d (--chatbot names another one)", existing.bot, count, maxExported)
		}
		return existing
	}
	t.recordsMu.Lock()
	defer t.recordsMu.Unlock()
	if t.recordsBot == "" {
		bot := t.createBot("records")
		path := "/api/chatbots/" + bot + "/completions/"
		conversation := ""
		for _, content := range recordedQuestions {
			conversation = t.user.post(path, question(content, conversation, false)).json(http.StatusOK).str("conversationId")
		}
		t.user.post(path, question(askFailure, "", false)).expectStatus(http.StatusBadGateway)
		t.recordsBot = bot
	}
	return recorded{t.recordsBot, true}
}

// expectAsMany fails the check unless the count equals that of the list. count was read before and may have increased
// since.
func (t *checker) expectAsMany(of recorded, what string, n, before int) {
	_, now := t.records(of.bot, "")
	t.require(before <= n && n <= now, "%s has %d records, the list %d before and %d after it", what, n, before, now)
}

// days returns query parameters for the three days around now, which tolerates clock skew.
func days() string {
	day := func(offset int) string { return time.Now().UTC().AddDate(0, 0, offset).Format(time.DateOnly) }
	return "?startDate=" + day(-1) + "&endDate=" + day(1)
}

// records returns a chatbot's records and their count.
func (t *checker) records(bot, filter string) (all []object, count int) {
	page := t.owner().getJSON("/api/chatbots/" + bot + "/records/" + days() + "&pageSize=100" + filter)
	return page.list("results"), page.num("count")
}

func checkRecordList(t *checker) {
	of := t.recorded()
	all, count := t.records(of.bot, "")
	t.require(len(all) == min(count, 100), "of %d records, %d are listed", count, len(all))
	t.owner().get("/api/chatbots/" + of.bot + "/records/" + days() + "&page=100000").expectProblem("not_found")
	if len(all) > 0 {
		record := t.owner().getJSON("/api/chatbots/" + of.bot + "/records/" + all[0].str("id") + "/")
		t.require(record.str("id") == all[0].str("id"), "got the record %v, want %s", record, all[0].str("id"))
	}
	if !of.isOwn {
		return
	}
	t.require(count == recordedCount, "%d exchanges have %d records", recordedCount, count)
	kinds := map[string]int{}
	for _, record := range all {
		kinds[record.str("type")]++
	}
	t.require(kinds["New"] == 2 && kinds["Follow"] == 2, "the records have the types %v", kinds)
	seen := map[string]bool{}
	for page := 1; page <= 2; page++ {
		for _, record := range t.owner().getJSON(fmt.Sprintf("/api/chatbots/%s/records/%s&pageSize=2&page=%d", of.bot, days(), page)).list("results") {
			t.require(!seen[record.str("id")], "the record %s is listed twice", record.str("id"))
			seen[record.str("id")] = true
		}
	}
	t.require(len(seen) == recordedCount, "two pages of two have %d different records", len(seen))
}

func checkRecordFilters(t *checker) {
	of := t.recorded()
	path := "/api/chatbots/" + of.bot + "/records/"
	t.owner().get(path + "?startDate=2020-01-02&endDate=2020-01-01").expectProblem("invalid_request")
	t.owner().get(path + "?startDate=2020-01-02").expectProblem("invalid_request")
	t.owner().get(path + days() + "&timezone=Nowhere/City").expectProblem("invalid_request")
	if !of.isOwn {
		failed, _ := t.records(of.bot, "&status=failed")
		for _, record := range failed {
			t.require(record.str("status") == "failed", "the filter status=failed finds %v", record)
		}
		return
	}
	for filter, want := range map[string]int{
		"&userMessage=" + "%E9%80%80%E7%A5%A8": 1, "&userMessage=100%25": 1, "&userMessage=100%25%25": 0, "&botMessage=noted": 2, "&status=failed": 1, "&type=Follow": 2,
	} {
		_, count := t.records(of.bot, filter)
		t.require(count == want, "the filter %s finds %d records, want %d", filter, count, want)
	}
	past := t.owner().getJSON(path + "?startDate=2020-01-01&endDate=2020-01-02")
	t.require(past.num("count") == 0, "%d records are older than the run", past.num("count"))
}

// export returns a complete export.
func (t *checker) export(bot, path string) response {
	got := t.owner().get("/api/chatbots/" + bot + "/records/" + path)
	got.expectStatus(http.StatusOK)
	return got
}

func checkExcelExport(t *checker) {
	of := t.recorded()
	_, before := t.records(of.bot, "")
	got := t.export(of.bot, "export-excel/"+days())
	file, err := zip.NewReader(bytes.NewReader(got.body), int64(len(got.body)))
	t.require(err == nil, "the file of %d bytes is not a ZIP archive: %v", len(got.body), err)
	rows := 0
	for _, part := range file.File {
		if !strings.HasPrefix(part.Name, "xl/worksheets/") {
			continue
		}
		sheet, err := part.Open()
		t.require(err == nil, "open %s: %v", part.Name, err)
		for decoder := xml.NewDecoder(sheet); ; {
			token, err := decoder.Token()
			if token == nil {
				t.require(err.Error() == "EOF", "%s is not valid XML: %v", part.Name, err)
				break
			}
			if element, ok := token.(xml.StartElement); ok && element.Name.Local == "row" {
				rows++
			}
		}
	}
	t.expectAsMany(of, "the file", rows-1, before) // without its header
}

func checkCSVExport(t *checker) {
	of := t.recorded()
	_, before := t.records(of.bot, "")
	got := t.export(of.bot, "export/"+days()+"&format=csv")
	text, hasBOM := bytes.CutPrefix(got.body, []byte("\xEF\xBB\xBF"))
	t.require(hasBOM, "the file does not begin with a byte order mark")
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	t.require(err == nil, "the file is not valid CSV: %v", err)
	t.expectAsMany(of, "the file", len(rows)-1, before) // without its header
	for _, row := range rows {
		t.require(!slices.ContainsFunc(row, func(cell string) bool { return strings.HasPrefix(cell, "=") }), "a cell is a formula: %q", row)
	}
}

func checkJSONLinesExport(t *checker) {
	of := t.recorded()
	listed, before := t.records(of.bot, "")
	got := t.export(of.bot, "export/"+days()+"&format=jsonl")
	exported := map[string]object{}
	for line := range strings.Lines(string(got.body)) {
		var record object
		t.require(json.Unmarshal([]byte(line), &record) == nil, "a line is not JSON: %s", truncate(line, 100))
		t.validator.checkPart("a line of an export", "ExchangeRecord", record)
		exported[record.str("id")] = record
	}
	t.expectAsMany(of, "the file", len(exported), before)
	for _, record := range listed {
		line := exported[record.str("id")]
		t.require(reflect.DeepEqual(line, record), "the list has %v, the file %v", record, line)
	}
}

func checkExportHeaders(t *checker) {
	bot := t.recorded().bot
	for path, want := range map[string][2]string{
		"export-excel/" + days():             {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"},
		"export/" + days() + "&format=csv":   {"text/csv", ".csv"},
		"export/" + days() + "&format=jsonl": {"application/x-ndjson", ".jsonl"},
	} {
		got := t.export(bot, path)
		kind, _, _ := mime.ParseMediaType(got.header.Get("Content-Type")) // an invalid one does not match
		t.require(kind == want[0], "the export %s has the type %q", path, got.header.Get("Content-Type"))
		disposition, parameters, err := mime.ParseMediaType(got.header.Get("Content-Disposition"))
		t.require(err == nil && disposition == "attachment" && strings.HasSuffix(parameters["filename"], want[1]), "the export %s has Content-Disposition %q", path, got.header.Get("Content-Disposition"))
	}
}

func checkStatistics(t *checker) {
	of := t.recorded()
	_, before := t.records(of.bot, "")
	statistics := t.owner().getJSON("/api/chatbots/" + of.bot + "/statistics/" + days())
	totals := statistics.obj("totals")
	t.expectAsMany(of, "the sum of the statistics", totals.num("records"), before)
	t.require(!of.isOwn || totals.num("failures") == 1 && totals.num("conversations") == 2, "the totals are %v", totals)
	t.require(len(statistics.list("days")) == 3, "the statistics of three days have %d entries", len(statistics.list("days")))
	sum := 0
	for _, day := range statistics.list("days") {
		sum += day.obj("figures").num("records")
	}
	t.require(sum == totals.num("records"), "the days have %d records in total, the totals %d", sum, totals.num("records"))
}

func checkScores(t *checker) {
	t.needScript()
	bot := t.createBot("scores")
	run := t.user.post("/api/chatbots/"+bot+"/completions/", question(askAnything, "", false)).json(http.StatusOK).str("runId")
	path := "/api/chatbots/" + bot + "/records/" + run + "/"
	scored := t.owner().patch(path, object{"faithfulnessScore": 0.5}).json(http.StatusOK)
	t.require(scored["faithfulnessScore"] == 0.5 && scored.str("displayFaithfulnessScore") != "", "the scored record is %v", scored)
	unscored := t.owner().patch(path, object{"faithfulnessScore": nil}).json(http.StatusOK)
	t.require(unscored["faithfulnessScore"] == nil, "the removed score is %v", unscored["faithfulnessScore"])
	t.owner().patch(path, object{"faithfulnessScore": 2}).expectProblem("invalid_request")
}
