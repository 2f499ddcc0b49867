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
	"slices"
	"strings"
	"time"
)

func recordChecks() []check {
	return []check{
		withScope("records:read", "records/list", "Each exchange is one record, the first of a conversation New, and the pages have each record once.", checkRecordList),
		withScope("records:read", "records/filters", "Records are filtered by day, text, status and type; an inverted range of days is 400.", checkRecordFilters),
		withScope("records:read", "records/excel", "The Excel export opens and has as many rows as the list has records.", checkExcelExport),
		withScope("records:read", "records/csv", "The CSV export has as many rows as the list has records.", checkCSVExport),
		withScope("records:read", "records/jsonl", "The lines of the JSON Lines export are exactly the records of the list.", checkJSONLinesExport),
		withScope("records:read", "records/export-header", "An export has its media type and a file name in Content-Disposition.", checkExportHeaders),
		withScope("records:read", "records/statistics", "The statistics agree with the list and have an entry for each day.", checkStatistics),
		withScope("records:write", "records/scores", "A score can be set on a record and removed.", checkScores),
	}
}

// The chatbot with records has three exchanges of one conversation, and one that fails.
var recordedQuestions = []string{askAnything, askBrief, askAnything + " 退票 100%"}

const recordedCount = 4

// botWithRecords returns a chatbot with records, which the first check that needs it creates.
func (t *checker) botWithRecords() string {
	t.needScript()
	t.recordsMu.Lock()
	defer t.recordsMu.Unlock()
	if t.recordsBot != "" {
		return t.recordsBot
	}
	bot := t.createBot("records")
	path := "/api/chatbots/" + bot + "/completions/"
	conversation := ""
	for _, content := range recordedQuestions {
		conversation = t.user.post(path, question(content, conversation, false)).json(http.StatusOK).str("conversationId")
	}
	t.user.post(path, question(askFailure, "", false)).expectStatus(http.StatusBadGateway)
	t.recordsBot = bot
	return bot
}

// days returns query parameters for a range of three days around now, which tolerates clock skew.
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
	bot := t.botWithRecords()
	all, count := t.records(bot, "")
	t.require(count == recordedCount && len(all) == count, "%d exchanges have %d records, and %d are listed", recordedCount, count, len(all))
	kinds := map[string]int{}
	for _, record := range all {
		kinds[record.str("type")]++
	}
	t.require(kinds["New"] == 2 && kinds["Follow"] == 2, "the records have the types %v", kinds)
	seen := map[string]bool{}
	for page := 1; page <= 2; page++ {
		for _, record := range t.owner().getJSON(fmt.Sprintf("/api/chatbots/%s/records/%s&pageSize=2&page=%d", bot, days(), page)).list("results") {
			t.require(!seen[record.str("id")], "the record %s is listed twice", record.str("id"))
			seen[record.str("id")] = true
		}
	}
	t.require(len(seen) == recordedCount, "two pages of two have %d different records", len(seen))
	t.owner().get("/api/chatbots/" + bot + "/records/" + days() + "&page=1000").expectProblem("not_found")
	record := t.owner().getJSON("/api/chatbots/" + bot + "/records/" + all[0].str("id") + "/")
	t.require(record.str("id") == all[0].str("id"), "got the record %v, want %s", record, all[0].str("id"))
}

func checkRecordFilters(t *checker) {
	bot := t.botWithRecords()
	for filter, want := range map[string]int{
		"&userMessage=" + "%E9%80%80%E7%A5%A8": 1, "&userMessage=100%25": 1, "&userMessage=100%25%25": 0, "&botMessage=noted": 2, "&status=failed": 1, "&type=Follow": 2,
	} {
		_, count := t.records(bot, filter)
		t.require(count == want, "the filter %s finds %d records, want %d", filter, count, want)
	}
	path := "/api/chatbots/" + bot + "/records/"
	past := t.owner().getJSON(path + "?startDate=2020-01-01&endDate=2020-01-02")
	t.require(past.num("count") == 0, "%d records are older than the run", past.num("count"))
	t.owner().get(path + "?startDate=2020-01-02&endDate=2020-01-01").expectProblem("invalid_request")
	t.owner().get(path + "?startDate=2020-01-02").expectProblem("invalid_request")
	t.owner().get(path + days() + "&timezone=Nowhere/City").expectProblem("invalid_request")
}

// export returns a complete export.
func (t *checker) export(bot, path string) response {
	got := t.owner().get("/api/chatbots/" + bot + "/records/" + path)
	got.expectStatus(http.StatusOK)
	return got
}

func checkExcelExport(t *checker) {
	bot := t.botWithRecords()
	_, count := t.records(bot, "")
	got := t.export(bot, "export-excel/"+days())
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
	t.require(rows == count+1, "the file has %d rows below its header, the list has %d records", rows-1, count)
}

func checkCSVExport(t *checker) {
	bot := t.botWithRecords()
	_, count := t.records(bot, "")
	got := t.export(bot, "export/"+days()+"&format=csv")
	text, hasBOM := bytes.CutPrefix(got.body, []byte("\xEF\xBB\xBF"))
	t.require(hasBOM, "the file does not begin with a byte order mark")
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	t.require(err == nil, "the file is not valid CSV: %v", err)
	t.require(len(rows) == count+1, "the file has %d rows below its header, the list has %d records", len(rows)-1, count)
	for _, row := range rows {
		t.require(!slices.ContainsFunc(row, func(cell string) bool { return strings.HasPrefix(cell, "=") }), "a cell is a formula: %q", row)
	}
}

func checkJSONLinesExport(t *checker) {
	bot := t.botWithRecords()
	all, _ := t.records(bot, "")
	got := t.export(bot, "export/"+days()+"&format=jsonl")
	lines := strings.Split(strings.TrimSuffix(string(got.body), "\n"), "\n")
	t.require(len(lines) == len(all), "the file has %d lines, the list has %d records", len(lines), len(all))
	for i, line := range lines {
		var record object
		t.require(json.Unmarshal([]byte(line), &record) == nil, "line %d is not JSON: %s", i+1, truncate(line, 100))
		t.validator.checkPart("a line of an export", "Record", record)
		t.require(fmt.Sprint(record) == fmt.Sprint(all[i]), "line %d is %v, the list has %v", i+1, record, all[i])
	}
}

func checkExportHeaders(t *checker) {
	bot := t.botWithRecords()
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
	bot := t.botWithRecords()
	statistics := t.owner().getJSON("/api/chatbots/" + bot + "/statistics/" + days())
	totals := statistics.obj("totals")
	t.require(totals.num("records") == recordedCount && totals.num("failures") == 1 && totals.num("conversations") == 2, "the totals are %v", totals)
	t.require(len(statistics.list("days")) == 3, "the statistics of three days have %d entries", len(statistics.list("days")))
	sum := 0
	for _, day := range statistics.list("days") {
		sum += day.obj("figures").num("records")
	}
	t.require(sum == recordedCount, "the days have %d records in total", sum)
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
