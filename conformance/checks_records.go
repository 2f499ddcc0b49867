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
		{name: "records/listed", holds: "Each exchange is one record, the first of its conversation New, and a walk over the pages shows each once.", needs: "records:read", ask: recordsAreListed},
		{name: "records/filters", holds: "Records are filtered by day, text, status and type, and days that are the wrong way round are 400.", needs: "records:read", ask: recordsAreFiltered},
		{name: "records/excel", holds: "The Excel export opens, and has as many rows as the list counts.", needs: "records:read", ask: excelIsWhole},
		{name: "records/csv", holds: "The CSV export has as many rows as the list counts.", needs: "records:read", ask: csvIsWhole},
		{name: "records/jsonl", holds: "The lines of the JSON export are exactly the records of the list.", needs: "records:read", ask: jsonLinesAreWhole},
		{name: "records/export-header", holds: "An export is named by Content-Disposition, and is of its type.", needs: "records:read", ask: exportsAreNamed},
		{name: "records/statistics", holds: "The statistics count what the list counts, and have an entry for each day.", needs: "records:read", ask: statisticsCount},
		{name: "records/scores", holds: "A record is scored, and a score taken back.", needs: "records:write", ask: recordsAreScored},
	}
}

// What a bot with records has been asked: three exchanges, one after the other in a conversation, and one that fails.
var recordedQuestions = []string{askAnything, askBrief, askAnything + " 退票 100%"}

const recordedCount = 4

// withRecords is a bot that has records, which one check makes and others look at.
func (t *trial) withRecords() string {
	t.scripted()
	t.recording.Lock()
	defer t.recording.Unlock()
	if t.recorded != "" {
		return t.recorded
	}
	user, bot := t.user(), t.newBot("records")
	path := "/api/chatbots/" + bot + "/completions/"
	conversation := ""
	for _, content := range recordedQuestions {
		conversation = user.post(path, question(content, conversation, false)).gives(http.StatusOK).str("conversationId")
	}
	user.post(path, question(askFailure, "", false)).has(http.StatusBadGateway)
	t.recorded = bot
	return bot
}

// days are the parameters for the time in which the run is, whatever the clocks.
func days() string {
	day := func(offset int) string { return time.Now().UTC().AddDate(0, 0, offset).Format(time.DateOnly) }
	return "?startDate=" + day(-1) + "&endDate=" + day(1)
}

// records lists a bot's records.
func (t *trial) records(bot, filter string) (all []object, count int) {
	page := t.owner().get("/api/chatbots/" + bot + "/records/" + days() + "&pageSize=100" + filter).gives(http.StatusOK)
	return page.list("results"), page.num("count")
}

func recordsAreListed(t *trial) {
	bot := t.withRecords()
	all, count := t.records(bot, "")
	t.must(count == recordedCount && len(all) == count, "of %d exchanges there are %d records, and %d are listed", recordedCount, count, len(all))
	kinds := map[string]int{}
	for _, one := range all {
		kinds[one.str("type")]++
	}
	t.must(kinds["New"] == 2 && kinds["Follow"] == 2, "the types of the records are %v", kinds)
	seen := map[string]bool{}
	for page := 1; page <= 2; page++ {
		for _, one := range t.owner().get(fmt.Sprintf("/api/chatbots/%s/records/%s&pageSize=2&page=%d", bot, days(), page)).gives(http.StatusOK).list("results") {
			t.must(!seen[one.str("id")], "the record %s is listed twice", one.str("id"))
			seen[one.str("id")] = true
		}
	}
	t.must(len(seen) == recordedCount, "two pages of two show %d records", len(seen))
	t.owner().get("/api/chatbots/"+bot+"/records/"+days()+"&page=1000").refused(http.StatusNotFound, "not_found")
	one := t.owner().get("/api/chatbots/" + bot + "/records/" + all[0].str("id") + "/").gives(http.StatusOK)
	t.must(one.str("id") == all[0].str("id"), "the record alone is %v", one)
}

func recordsAreFiltered(t *trial) {
	bot := t.withRecords()
	for filter, wanted := range map[string]int{
		"&userMessage=" + "%E9%80%80%E7%A5%A8": 1, "&userMessage=100%25": 1, "&userMessage=100%25%25": 0, "&botMessage=noted": 2, "&status=failed": 1, "&type=Follow": 2,
	} {
		_, count := t.records(bot, filter)
		t.must(count == wanted, "with the filter %s there are %d records, not %d", filter, count, wanted)
	}
	path := "/api/chatbots/" + bot + "/records/"
	past := t.owner().get(path + "?startDate=2020-01-01&endDate=2020-01-02").gives(http.StatusOK)
	t.must(past.num("count") == 0, "there are %d records of a time before", past.num("count"))
	t.owner().get(path+"?startDate=2020-01-02&endDate=2020-01-01").refused(http.StatusBadRequest, "invalid_request")
	t.owner().get(path+"?startDate=2020-01-02").refused(http.StatusBadRequest, "invalid_request")
	t.owner().get(path+days()+"&timezone=Nowhere/City").refused(http.StatusBadRequest, "invalid_request")
}

// export gets a whole export.
func (t *trial) export(bot, what string) answer {
	got := t.owner().get("/api/chatbots/" + bot + "/records/" + what)
	got.has(http.StatusOK)
	return got
}

func excelIsWhole(t *trial) {
	bot := t.withRecords()
	_, count := t.records(bot, "")
	got := t.export(bot, "export-excel/"+days())
	file, err := zip.NewReader(bytes.NewReader(got.body), int64(len(got.body)))
	t.must(err == nil, "the file of %d bytes does not open: %v", len(got.body), err)
	rows := 0
	for _, part := range file.File {
		if !strings.HasPrefix(part.Name, "xl/worksheets/") {
			continue
		}
		sheet, err := part.Open()
		t.must(err == nil, "%s does not open: %v", part.Name, err)
		for decoder := xml.NewDecoder(sheet); ; {
			token, err := decoder.Token()
			if token == nil {
				t.must(err.Error() == "EOF", "%s is broken: %v", part.Name, err)
				break
			}
			if element, ok := token.(xml.StartElement); ok && element.Name.Local == "row" {
				rows++
			}
		}
	}
	t.must(rows == count+1, "the file has %d rows below the header, the list counts %d", rows-1, count)
}

func csvIsWhole(t *trial) {
	bot := t.withRecords()
	_, count := t.records(bot, "")
	got := t.export(bot, "export/"+days()+"&format=csv")
	text, hasMark := bytes.CutPrefix(got.body, []byte("\xEF\xBB\xBF"))
	t.must(hasMark, "the file does not begin with a byte order mark")
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	t.must(err == nil, "the file is no CSV: %v", err)
	t.must(len(rows) == count+1, "the file has %d rows below the header, the list counts %d", len(rows)-1, count)
	for _, row := range rows {
		t.must(!slices.ContainsFunc(row, func(cell string) bool { return strings.HasPrefix(cell, "=") }), "a cell is a formula: %v", row)
	}
}

func jsonLinesAreWhole(t *trial) {
	bot := t.withRecords()
	all, _ := t.records(bot, "")
	got := t.export(bot, "export/"+days()+"&format=jsonl")
	lines := strings.Split(strings.TrimSuffix(string(got.body), "\n"), "\n")
	t.must(len(lines) == len(all), "the file has %d lines, the list %d records", len(lines), len(all))
	for i, line := range lines {
		var one object
		t.must(json.Unmarshal([]byte(line), &one) == nil, "line %d is no JSON: %s", i+1, shortened(line, 100))
		t.seen.lookAtPart("a line of an export", "Record", one)
		t.must(fmt.Sprint(one) == fmt.Sprint(all[i]), "line %d is %v, the list has %v", i+1, one, all[i])
	}
}

func exportsAreNamed(t *trial) {
	bot := t.withRecords()
	for what, wanted := range map[string][2]string{
		"export-excel/" + days():             {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"},
		"export/" + days() + "&format=csv":   {"text/csv", ".csv"},
		"export/" + days() + "&format=jsonl": {"application/x-ndjson", ".jsonl"},
	} {
		got := t.export(bot, what)
		kind, _, _ := mime.ParseMediaType(got.header.Get("Content-Type")) // an unknown one is another one
		t.must(kind == wanted[0], "the export %s is of the type %q", what, got.header.Get("Content-Type"))
		disposition, parameters, err := mime.ParseMediaType(got.header.Get("Content-Disposition"))
		t.must(err == nil && disposition == "attachment" && strings.HasSuffix(parameters["filename"], wanted[1]), "the export %s has the Content-Disposition %q", what, got.header.Get("Content-Disposition"))
	}
}

func statisticsCount(t *trial) {
	bot := t.withRecords()
	statistics := t.owner().get("/api/chatbots/" + bot + "/statistics/" + days()).gives(http.StatusOK)
	totals := statistics.obj("totals")
	t.must(totals.num("records") == recordedCount && totals.num("failures") == 1 && totals.num("conversations") == 2, "the totals are %v", totals)
	t.must(len(statistics.list("days")) == 3, "of three days there are %d", len(statistics.list("days")))
	sum := 0
	for _, day := range statistics.list("days") {
		sum += day.obj("figures").num("records")
	}
	t.must(sum == recordedCount, "the days have %d records together", sum)
}

func recordsAreScored(t *trial) {
	t.scripted()
	bot, user := t.newBot("scores"), t.user()
	run := user.post("/api/chatbots/"+bot+"/completions/", question(askAnything, "", false)).gives(http.StatusOK).str("runId")
	path := "/api/chatbots/" + bot + "/records/" + run + "/"
	scored := t.owner().call(http.MethodPatch, path, object{"faithfulnessScore": 0.5}).gives(http.StatusOK)
	t.must(scored["faithfulnessScore"] == 0.5 && scored.str("displayFaithfulnessScore") != "", "it is scored as %v", scored)
	back := t.owner().call(http.MethodPatch, path, object{"faithfulnessScore": nil}).gives(http.StatusOK)
	t.must(back["faithfulnessScore"] == nil, "the score is taken back as %v", back["faithfulnessScore"])
	t.owner().call(http.MethodPatch, path, object{"faithfulnessScore": 2}).refused(http.StatusBadRequest, "invalid_request")
}
