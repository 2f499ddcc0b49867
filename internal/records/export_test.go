package records_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/records"
)

// hostile are texts that file formats and programs often handle incorrectly.
var hostile = []string{
	"", " ", "  leading and trailing  ", "\ttab\t", "line\nbreak", "windows\r\nbreak", "old\rbreak", "\n", "\n\n  \n", "a\n\nb\n",
	"=1+1", "=HYPERLINK(\"http://example.com\",\"x\")", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "'=1+1", "\t=1+1", " =1+1", "＝1+1", "{=1+1}",
	"1234567890123456789", "007", "1e10", "2025-01-01", "TRUE", "#N/A", "NaN", "1/2",
	"<b>&amp;\"'</b>", "]]>", "<!-- -->", "<?xml?>", "&#0;", "\u0001\u0008\u000b\u000c\u001f", "\u007f\u0085\u2028\u2029", "\ufffe\uffff\ufffd",
	"_x0041_", "_x005F_x0041_", "_X0041_", "x_x_x0000_", "__x0041__", "_x0041", "\u0001_x0041_",
	"🙂👩‍👩‍👧‍👦🇹🇼", "𠮷野家", "e\u0301", "\u202eright to left\u202c", "עברית العربية", "zero\u200bwidth\ufeff", "\ufeffBOM",
	"退款申請，請問？", "ｆｕｌｌ　ｗｉｄｔｈ", strings.Repeat("長", 32_767), strings.Repeat("x", 32_768), strings.Repeat("🙂", 16_384), strings.Repeat("長", 100_000),
	strings.Repeat("x", 32_766) + "🙂tail", strings.Repeat("0123456789", 4_000), strings.Repeat("=1\n", 20_000), strings.Repeat("🙂", 50_001),
	strings.Repeat("\u0001", 40_000), strings.Repeat("_x0041_", 10_000), strings.Repeat(" ", 40_000), strings.Repeat("a\r\n", 30_000),
}

// Every field of every record round-trips, with each hostile text in each of the text fields.
func TestExcelCellsEqualTheList(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := newFixture(t)
	stored := hostileRecords(rand.New(rand.NewPCG(seed, 0)))
	f.add(stored...)
	filter := records.Filter{Days: days(t, "2025-01-01", "2025-01-31", "America/New_York")}
	listed, total := f.list(filter, 1, 100)
	if total != int64(len(stored)) {
		t.Fatalf("the list has %d records, want %d", total, len(stored))
	}
	file := f.exportFile(filter, records.English)
	exported := openBook(t, file)
	rows := exported.rows("Records")
	if len(rows) != 1+len(listed) {
		t.Fatalf("%d rows, want %d", len(rows), 1+len(listed))
	}
	joined := unfold(t, exported)
	for i, record := range listed {
		cell := func(column int) string { return joined[cellKey{rows[1+i][0], rows[0][column]}] }
		for column, want := range []string{
			record.ID.String(), record.InputMessage, record.CondenseMessage, record.Type, record.Context, record.OutputMessage,
		} {
			if got := cell(column); got != want {
				t.Errorf("row %d, %s: %.80q (%d bytes), want %.80q (%d bytes)", 2+i, rows[0][column], got, len(got), want, len(want))
			}
		}
		for column, want := range map[int]*float64{
			6: record.FaithfulnessScore, 7: record.AnswerRelevancyScore, 8: record.AnswerCorrectnessScore,
			9: record.AnswerSimilarityScore, 10: record.ContextPrecisionScore, 11: record.ContextRecallScore, 12: record.ReplyTime,
		} {
			if got := cell(column); got != number(want) {
				t.Errorf("row %d, %s: %s, want %s", 2+i, rows[0][column], got, number(want))
			}
		}
		want := record.CreatedAt.In(filter.Days.Zone()).Format("2006-01-02T15:04:05")
		if got := at(t, cell(13)).Format("2006-01-02T15:04:05"); got != want {
			t.Errorf("row %d: created at %s, want %s", 2+i, got, want)
		}
	}
	expectNoFormula(t, file)
}

// hostileRecords returns records that have each hostile text in each text field. The long texts are in one field.
func hostileRecords(random *rand.Rand) []db.Record {
	text := func(record, field int) string {
		n := (record + field) % len(hostile)
		if len(hostile[n]) > 1_000 && n%4 != field {
			return ""
		}
		return hostile[n]
	}
	all := make([]db.Record, len(hostile))
	for i := range all {
		all[i] = db.Record{
			CreatedAt:    noon.Add(time.Duration(random.Int64N(int64(10 * 24 * time.Hour)))).Truncate(time.Microsecond),
			Status:       []string{"completed", "failed", "cancelled"}[random.IntN(3)],
			Type:         []string{"New", "Follow"}[random.IntN(2)],
			InputMessage: text(i, 0), CondenseMessage: text(i, 1), Context: text(i, 2), OutputMessage: text(i, 3),
			FaithfulnessScore: score(random), AnswerRelevancyScore: score(random), AnswerCorrectnessScore: score(random),
			AnswerSimilarityScore: score(random), ContextPrecisionScore: score(random), ContextRecallScore: score(random),
			ReplyTime: score(random),
		}
	}
	return all
}

// cellKey identifies a record's cell.
type cellKey struct{ id, header string }

// unfold joins each cell of the sheet Records with its parts on the sheet Overflow.
func unfold(t *testing.T, exported book) map[cellKey]string {
	t.Helper()
	rows, overflow := exported.rows("Records"), exported.rows("Overflow")
	joined := map[cellKey]string{}
	for _, row := range rows[1:] {
		for column, header := range rows[0] {
			joined[cellKey{row[0], header}] = cell(row, column)
		}
	}
	parts := map[cellKey]int{}
	for _, row := range overflow[1:] {
		at := cellKey{row[0], row[1]}
		head := joined[at]
		if parts[at] == 0 {
			var isMarked bool
			if head, isMarked = strings.CutSuffix(head, "… [continues on the sheet Overflow]"); !isMarked {
				t.Errorf("%v continues without the mark", at)
			}
			parts[at] = 1
		}
		parts[at]++
		if row[2] != strconv.Itoa(parts[at]) {
			t.Errorf("%v: part %s, want part %d", at, row[2], parts[at])
		}
		joined[at] = head + cell(row, 3)
	}
	return joined
}

// expectNoFormula searches the XML of the sheets, in which < is escaped in texts.
func expectNoFormula(t *testing.T, file []byte) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range archive.File {
		if !strings.HasPrefix(part.Name, "xl/worksheets/") {
			continue
		}
		content, err := part.Open()
		if err != nil {
			t.Fatal(err)
		}
		sheet, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		for _, element := range []string{"<f>", "<f ", "<f/", `t="str"`, `t="e"`, "<hyperlink"} {
			if bytes.Contains(sheet, []byte(element)) {
				t.Errorf("%s contains %s", part.Name, element)
			}
		}
	}
}

func score(random *rand.Rand) *float64 {
	if random.IntN(4) == 0 {
		return nil
	}
	return new([]float64{0, 1, 0.5, 1.0 / 3, random.Float64(), -0.25, 1e-9, 12345.678}[random.IntN(8)])
}

func number(n *float64) string {
	if n == nil {
		return ""
	}
	text := strconv.FormatFloat(*n, 'f', -1, 64)
	if *n == 1e-9 {
		text = strconv.FormatFloat(*n, 'E', -1, 64)
	}
	return text
}

func TestHeadersFollowTheLocale(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon, OutputMessage: strings.Repeat("x", 40_000)})
	for locale, want := range map[records.Locale][3]string{
		"en": {
			"ID, User input, Condensed input, Type, Reference, Output, Faithfulness, Answer relevancy, Answer correctness, Answer similarity, " +
				"Context precision, Context recall, Reply time (s), Created at, Model, Prompt tokens, Completion tokens, Cached tokens, Reasoning tokens",
			"ID, Column, Part, Text", "… [continues on the sheet Overflow]",
		},
		"zh-TW": {
			"ID, 用戶輸入訊息, 修飾輸入訊息, 型態, 參考資料, 輸出訊息, 誠實性評分, 回答相關性評分, 回答正確性評分, 回答相似性評分, 參考資料相關性評分, " +
				"參考資料召回率評分, 回覆花費時間, 建立時間, 模型, 輸入 Token 數, 輸出 Token 數, 快取 Token 數, 推理 Token 數",
			"ID, 欄位, 部分, 內容", "…［續見工作表 Overflow］",
		},
	} {
		exported := f.export(january(t), locale)
		for i, sheet := range []string{"Records", "Overflow"} {
			if got := strings.Join(exported.rows(sheet)[0], ", "); got != want[i] {
				t.Errorf("%s, %s: %s", locale, sheet, got)
			}
		}
		if output := exported.rows("Records")[1][5]; !strings.HasSuffix(output, want[2]) {
			t.Errorf("%s: a truncated text ends with %q", locale, output[len(output)-40:])
		}
	}
}

func TestExcelDatesAreInTheTimeZone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: instant(t, "2025-07-01T15:59:59Z")}, db.Record{CreatedAt: instant(t, "2025-07-01T16:00:00Z")})
	for zone, want := range map[string][]string{
		"UTC":              {"2025-07-01 16:00:00", "2025-07-01 15:59:59"},
		"Asia/Taipei":      {"2025-07-02 00:00:00", "2025-07-01 23:59:59"},
		"America/New_York": {"2025-07-01 12:00:00", "2025-07-01 11:59:59"},
	} {
		exported := f.export(records.Filter{Days: days(t, "2025-07-01", "2025-07-02", zone)}, records.English)
		shown, err := exported.GetRows("Records")
		if err != nil {
			t.Fatal(err)
		}
		if got := column(shown, 13); !slices.Equal(got, want) {
			t.Errorf("%s: the cells show %q, want %q", zone, got, want)
		}
	}
}

func TestOverflowSheetExistsOnlyIfNeeded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{CreatedAt: noon, OutputMessage: strings.Repeat("長", 32_767)})
	if got := f.export(january(t), records.English).GetSheetList(); !slices.Equal(got, []string{"Records"}) {
		t.Errorf("the sheets are %q", got)
	}
}

// Blocks end after a number of rows or bytes, or after a single large record. No row is lost between blocks.
func TestBlocksAreContiguous(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var stored []db.Record
	for i := range 4_321 {
		text := fmt.Sprintf("row %d", i)
		if i%300 < 40 {
			text = strings.Repeat(text, 2_000)
		}
		if i == 1_000 {
			text = strings.Repeat(text, 300_000) // larger than a block
		}
		// many at the same instant, so that blocks end between them
		stored = append(stored, db.Record{CreatedAt: noon.Add(time.Duration(i/500) * time.Second), InputMessage: text})
	}
	want := texts(ids(f.add(stored...)))
	slices.Reverse(want)
	if got := column(f.export(january(t), records.English).rows("Records"), 0); !slices.Equal(got, want) {
		t.Errorf("%d rows, missing or in another order", len(got))
	}
}

func TestExportExcludesLaterRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	start := time.Now().UTC()
	f.add(db.Record{CreatedAt: start.Add(-time.Hour)}, db.Record{CreatedAt: start.Add(-time.Minute)})
	filter := records.Filter{Days: days(t, "2025-01-01", "9999-12-31", "UTC")}
	export, err := f.records.Export(t.Context(), f.organization, f.bot, filter)
	if err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO records (organization_id, id, bot_id, session_id, status, type, input_message, output_message, asked_at, created_at)
	        VALUES ($1, $2, $3, $4, 'completed', 'New', '', '', clock_timestamp(), clock_timestamp())`, f.organization, id(), f.bot, f.session)
	var file bytes.Buffer
	if err := export.WriteExcel(t.Context(), &file, records.English); err != nil {
		t.Fatal(err)
	}
	if rows := openBook(t, file.Bytes()).rows("Records"); len(rows) != 3 {
		t.Errorf("%d rows, want 2", len(rows)-1)
	}
}
