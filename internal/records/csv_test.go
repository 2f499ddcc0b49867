package records_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/gen/db"
	"parley/internal/records"
)

// parseCSV parses strict RFC 4180: rows end with CRLF and have as many cells as the first row. Quotes enclose a cell
// or are doubled.
func parseCSV(t testing.TB, file []byte) [][]string {
	t.Helper()
	text, isMarked := strings.CutPrefix(string(file), "\uFEFF")
	if !isMarked {
		t.Fatal("the file has no byte order mark")
	}
	var rows [][]string
	for row := []string(nil); text != ""; {
		var cell strings.Builder
		if strings.HasPrefix(text, `"`) {
			for text = text[1:]; ; {
				part, rest, isClosed := strings.Cut(text, `"`)
				if !isClosed {
					t.Fatalf("row %d: unterminated quote", len(rows))
				}
				cell.WriteString(part)
				if text = rest; !strings.HasPrefix(text, `"`) {
					break
				}
				cell.WriteByte('"')
				text = text[1:]
			}
		} else {
			end := strings.IndexAny(text, ",\"\r\n")
			if end < 0 || text[end] == '"' {
				t.Fatalf("row %d: %.40q is not a cell", len(rows), text)
			}
			cell.WriteString(text[:end])
			text = text[end:]
		}
		row = append(row, cell.String())
		if rest, isNext := strings.CutPrefix(text, ","); isNext {
			text = rest
			continue
		}
		rest, isEnd := strings.CutPrefix(text, "\r\n")
		if !isEnd || len(rows) > 0 && len(row) != len(rows[0]) {
			t.Fatalf("row %d has %d cells and continues with %.40q", len(rows), len(row), text)
		}
		text, rows, row = rest, append(rows, row), nil
	}
	return rows
}

// Removing the apostrophe before a formula restores every text.
func TestCSVTextsRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, text := range hostile {
		f.add(db.Record{CreatedAt: noon.Add(time.Duration(i) * time.Second), InputMessage: text, CondenseMessage: text, Context: text, OutputMessage: text})
	}
	filter := january(t)
	listed, _ := f.list(filter, 1, 100)
	rows := parseCSV(t, f.exportCSV(filter, records.English))[1:]
	if len(rows) != len(listed) || len(rows) != len(hostile) {
		t.Fatalf("%d rows, want %d", len(rows), len(listed))
	}
	for i, record := range listed {
		for _, column := range []int{1, 2, 4, 5} {
			got := rows[i][column]
			if startsFormula(got) && got[0] != '\'' {
				t.Errorf("%.40q is a formula", got)
			}
			if rest, isMarked := strings.CutPrefix(got, "'"); isMarked && startsFormula(rest) {
				got = rest
			}
			if got != record.InputMessage {
				t.Errorf("%.60q (%d bytes), want %.60q (%d bytes)", got, len(got), record.InputMessage, len(record.InputMessage))
			}
		}
	}
}

// startsFormula reports whether a text begins like a formula, as the API description defines it.
func startsFormula(text string) bool {
	text = strings.TrimLeft(text, " \u00a0\u3000\u200b\ufeff\u202e\u202c\v\f\u0001\u0008\u007f\u0085'\"`‘’“”\u2028\u2029")
	return text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(text)[0])
}

func TestCSVEscapesFormulas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	escaped := map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx", "\rx": "'\rx", "\n=1": "'\n=1",
		"＝1+1": "'＝1+1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x", " =1": "' =1", "\u3000=1": "'\u3000=1", "\ufeff=1": "'\ufeff=1", "\u200b+1": "'\u200b+1",
		`"=1"`: `'"=1"`, "'=1": "''=1", `"" =1`: `'"" =1`, "“=1”": "'“=1”",
		"1-1": "1-1", "a=b": "a=b", "'quoted'": "'quoted'", `"quoted"`: `"quoted"`, "": "", " ": " ", "–1": "–1", "退款": "退款", "😀=1": "😀=1",
	}
	stored := map[string]string{}
	for text := range escaped {
		added := f.add(db.Record{CreatedAt: noon, InputMessage: text})
		stored[added[0].ID.String()] = text
	}
	rows := parseCSV(t, f.exportCSV(january(t), records.English))[1:]
	if len(rows) != len(escaped) {
		t.Fatalf("%d rows, want %d", len(rows), len(escaped))
	}
	for _, row := range rows {
		if text := stored[row[0]]; row[1] != escaped[text] {
			t.Errorf("%q became %q, want %q", text, row[1], escaped[text])
		}
	}
}

func TestCSVNumbersAndTimes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(db.Record{
		CreatedAt: time.Date(2025, 1, 15, 23, 59, 59, 999_999_000, time.UTC), FaithfulnessScore: new(0.1), AnswerRelevancyScore: new(-0.25),
		ContextPrecisionScore: new(1e-9), ReplyTime: new(1234567.5),
	})
	for _, c := range []struct {
		zone, at string
		locale   records.Locale
		header   string
	}{
		{"UTC", "2025-01-15 23:59:59", records.English, "User input"},
		{"Asia/Taipei", "2025-01-16 07:59:59", records.TraditionalChinese, "用戶輸入訊息"},
		{"Asia/Kathmandu", "2025-01-16 05:44:59", "", "User input"},
	} {
		rows := parseCSV(t, f.exportCSV(records.Filter{Days: days(t, "2025-01-01", "2025-01-31", c.zone)}, c.locale))
		want := []string{"0.1", "-0.25", "", "", "0.000000001", "", "1234567.5", c.at}
		if got := strings.Join(rows[1][6:14], "|"); got != strings.Join(want, "|") || rows[0][1] != c.header {
			t.Errorf("%s: %s below %q, want %s", c.zone, got, rows[0], want)
		}
	}
}

func TestCSVHeaderIsWrittenBeforeReadingRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addMany(20_000)
	export, err := f.records.Export(t.Context(), f.organization, f.bot, january(t))
	if err != nil {
		t.Fatal(err)
	}
	// records that are deleted at the first write cannot have been read before
	out := &hook{do: func() { f.exec("DELETE FROM records") }}
	if err := export.WriteCSV(t.Context(), out, records.English); err != nil {
		t.Fatal(err)
	}
	if rows := parseCSV(t, out.Bytes()); len(rows) != 1 {
		t.Errorf("%d records were read before the first write", len(rows)-1)
	}
}

// BenchmarkExportAsCSV exports the same 100,000 records as BenchmarkExport.
func BenchmarkExportAsCSV(b *testing.B) {
	benchmark(b, func(export *records.Export, out io.Writer) error {
		return export.WriteCSV(b.Context(), out, records.English)
	})
}

func BenchmarkHotCSV(b *testing.B) {
	record := db.Record{
		ID: id(), InputMessage: strings.Repeat("How do I get a refund? 退款 ", 4), OutputMessage: strings.Repeat(`Say "please", and wait. `, 20), Type: "New",
		FaithfulnessScore: new(0.9), ReplyTime: new(1.25), CreatedAt: noon,
	}
	zone, err := time.LoadLocation("Asia/Taipei")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var line []byte
	for b.Loop() {
		line = records.AppendCSV(line[:0], &record, zone)
	}
	b.SetBytes(int64(len(line)))
	if !bytes.Contains(line, []byte(strconv.Quote("New"))) {
		b.Errorf("%s", line)
	}
}
