package httpapi_test

import (
	"encoding/csv"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/httpapi"
	"parley/internal/httpapi/recordfile"
)

// exportLines returns the records of an export as JSON Lines.
func (c caller) exportLines(query string) []object {
	c.t.Helper()
	got := c.call(http.MethodGet, linesPath+query+"&format=jsonl", nil)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/x-ndjson" {
		c.t.Fatalf("%s: %d %v %s", got.request, got.status, got.header, got.body)
	}
	lines := []object{}
	for line := range strings.Lines(string(got.body)) {
		if !strings.HasSuffix(line, "}\n") {
			c.t.Errorf("%q is not a complete line", line)
		}
		lines = append(lines, answer{t: c.t, request: got.request, body: []byte(line)}.json())
	}
	return lines
}

// Each line equals the record in the list as encoding/json encodes it, byte for byte.
func TestExportedLinesEqualTheRecordsOfTheList(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{
		"", "plain", "請到訂單頁面", "🙂", `"`, `\`, "/", "\n", "\r\n", "\t", "<b>&</b>", "\u2028", "\u2029", "\u2027\u202a", "\u0001", "\b\f", "\x7f", "\u0085", "\xff", "\xe2\x80",
		"\ufeff", "'", "=1+1", "\U0010ffff",
	}
	numbers := []float64{0, 1, 0.5, 0.1, 2.0 / 3, 0.005, 1e-6, 9.99e-7, 1e-9, 1e-300, 1234567.891, 1e20, 1e21, 1e300, -0.25, -1e-7}
	say := func() string {
		var said strings.Builder
		for range random.IntN(5) {
			said.WriteString(pieces[random.IntN(len(pieces))])
		}
		return said.String()
	}
	for range 2_000 {
		var row db.Record
		fields := reflect.ValueOf(&row).Elem()
		for i := range fields.NumField() {
			switch field := fields.Field(i).Addr().Interface().(type) {
			case *string:
				*field = say()
			case **string:
				if random.IntN(2) == 0 {
					*field = new(say())
				}
			case **float64:
				if random.IntN(2) == 0 {
					*field = new(numbers[random.IntN(len(numbers))])
				}
			case *uuid.UUID:
				*field = uuid.New()
			case *time.Time:
				*field = time.UnixMicro(random.Int64N(4e15)).In(time.FixedZone("", random.IntN(10_000)))
			}
		}
		want := escapeNextLine(string(must(json.Marshal(httpapi.ToAPIRecord(row))))) + "\n"
		if got := string(recordfile.AppendLine([]byte("head"), &row)); got != "head"+want {
			t.Fatalf("%s\nwant\n%s", got, want)
		}
	}
}

// Exports are CSV unless the request asks for another format.
func TestExportsAreCSVByDefault(t *testing.T) {
	t.Parallel()
	alice, _ := serve(t).organization().createExchanges()
	for query, header := range map[string]string{"": "User input", "format=csv&locale=en": "User input", "locale=zh-TW": "用戶輸入訊息"} {
		got := alice.call(http.MethodGet, linesPath+withDays(query), nil)
		if got.status != 200 || got.header.Get("Content-Type") != "text/csv; charset=utf-8" || got.header.Get("Cache-Control") != "no-store" ||
			!strings.Contains(got.header.Get("Content-Disposition"), dayParameters["endDate"]+`.csv"`) {
			t.Fatalf("%s: %d %v", got.request, got.status, got.header)
		}
		rows := must(csv.NewReader(strings.NewReader(strings.TrimPrefix(string(got.body), "\uFEFF"))).ReadAll())
		if len(rows) != 5 || rows[0][1] != header {
			t.Fatalf("the rows are %q", rows)
		}
		for i, record := range objects(alice.listRecords(""), "results") {
			want := text(record, "inputMessage")
			if want == "=1+1" {
				want = "'=1+1"
			}
			if row := rows[1+i]; row[0] != record["id"] || row[1] != want || row[5] != record["outputMessage"] || row[13] != strings.Replace(text(record, "createdAt")[:19], "T", " ", 1) {
				t.Errorf("%q is not %v", row, record)
			}
		}
	}
	if header := alice.call(http.MethodGet, linesPath+withDays("format=jsonl"), nil).header.Get("Content-Disposition"); !strings.HasSuffix(header, `.jsonl"`) {
		t.Errorf("the name is %s", header)
	}
	alice.call(http.MethodGet, linesPath+withDays("format=xml"), nil).wantProblem(400, "invalid_request", "format")
	alice.call(http.MethodGet, linesPath+withDays("locale=fr"), nil).wantProblem(400, "invalid_request", "locale")
}

// An invalid filter is refused, and an unknown conversation is 404, in the list and the exports.
func TestInvalidRecordFiltersAreRejected(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, _ := o.createExchanges()
	elsewhere := o.as("alice", auth.Chat).createResources()["conversations"]
	for _, path := range []string{recordsPath, exportPath, linesPath} {
		for query, where := range map[string]string{"status=done": "status", "status=": "status", "feedback=null": "feedback", "type=new": "type", "conversation=": "conversation"} {
			if err := alice.call(http.MethodGet, path+withDays(query), nil).checkProblem(400, "invalid_request", where); err != nil {
				t.Error(err)
			}
		}
		for _, id := range []string{"x", uuid.NewString(), elsewhere} {
			if err := alice.call(http.MethodGet, path+withDays("conversation="+id), nil).checkProblem(404, "not_found", ""); err != nil {
				t.Error(err)
			}
		}
	}
}

// An evaluator changes the scores that it names, and nothing else.
func TestScoresAreUpdatedIndependently(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, ids := o.createExchanges()
	evaluator := o.as("evaluator", auth.RecordsWrite)
	path := recordsPath + ids[0] + "/"
	before := alice.get(path)
	for _, step := range []struct{ body, want object }{
		{object{"faithfulnessScore": 0.9, "contextRecallScore": 1}, object{"faithfulnessScore": "0.9", "displayFaithfulnessScore": "0.90", "contextRecallScore": "1", "displayContextRecallScore": "1.00"}},
		{object{"faithfulnessScore": 0.9, "contextRecallScore": 1}, object{"faithfulnessScore": "0.9", "contextRecallScore": "1"}},
		{object{"answerRelevancyScore": 0, "answerCorrectnessScore": 0.1, "answerSimilarityScore": 0.2, "contextPrecisionScore": 0.3, "feedback": "like", "status": "failed"}, object{
			"answerRelevancyScore": "0", "displayAnswerRelevancyScore": "0.00", "answerCorrectnessScore": "0.1", "answerSimilarityScore": "0.2", "contextPrecisionScore": "0.3", "faithfulnessScore": "0.9",
		}},
		{object{"faithfulnessScore": nil}, object{"faithfulnessScore": nil, "displayFaithfulnessScore": "", "contextRecallScore": "1"}},
		{object{}, object{"faithfulnessScore": nil, "contextRecallScore": "1", "answerSimilarityScore": "0.2"}},
	} {
		got := evaluator.patch(path, step.body)
		for name, want := range step.want {
			if number, isNumber := got[name].(json.Number); isNumber && number.String() != want || !isNumber && got[name] != want {
				t.Errorf("%v: %s is %v, want %v", step.body, name, got[name], want)
			}
		}
		for name, value := range before {
			if !strings.HasSuffix(name, "Score") && !reflect.DeepEqual(got[name], value) {
				t.Errorf("%v: %s is %v, was %v", step.body, name, got[name], value)
			}
		}
		if again := alice.get(path); !reflect.DeepEqual(again, got) {
			t.Errorf("%v: it became %v, want %v", step.body, again, got)
		}
	}
	for body, where := range map[string]string{`{"faithfulnessScore": 1.1}`: "/faithfulnessScore", `{"contextRecallScore": -0.1}`: "/contextRecallScore", `{"answerRelevancyScore": "1"}`: "/answerRelevancyScore", `[]`: ""} {
		evaluator.call(http.MethodPatch, path, body).wantProblem(400, "invalid_request", where)
	}
	evaluator.call(http.MethodPatch, path, strings.Repeat(" ", 2<<20)).wantProblem(413, "too_large", "")
	evaluator.call(http.MethodPatch, path, "{}", withHeader("Content-Type", "text/plain")).wantProblem(415, "unsupported_media_type", "")
	alice.call(http.MethodPatch, path, object{}).wantProblem(403, "forbidden", "")
	evaluator.call(http.MethodGet, path, nil).wantProblem(403, "forbidden", "")
	other := text(o.as("admin", auth.Admin).post("/api/chatbots/", object{"name": "Another"}), "id")
	for _, path := range []string{recordsPath + "x/", recordsPath + uuid.NewString() + "/", "/api/chatbots/" + other + "/records/" + ids[0] + "/"} {
		evaluator.call(http.MethodPatch, path, object{"faithfulnessScore": 0}).wantProblem(404, "not_found", "")
		alice.call(http.MethodGet, path, nil).wantProblem(404, "not_found", "")
	}
}

// BenchmarkAppendLine is one line of JSON.
func BenchmarkAppendLine(b *testing.B) {
	row := db.Record{
		ID: uuid.New(), SessionID: uuid.New(), InputMessage: strings.Repeat("How do I get a refund? 退款 ", 4), OutputMessage: strings.Repeat("Say \"please\",\nand wait. ", 20),
		Status: "completed", Type: "New", FaithfulnessScore: new(0.9), ReplyTime: new(1.25), AskedAt: time.Now(), CreatedAt: time.Now(),
	}
	b.Run("appended", func(b *testing.B) {
		b.ReportAllocs()
		var line []byte
		for b.Loop() {
			line = recordfile.AppendLine(line[:0], &row)
		}
	})
	b.Run("marshalled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(json.Marshal(httpapi.ToAPIRecord(row)))
		}
	})
}
