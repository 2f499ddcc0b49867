package faq_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/xuri/excelize/v2"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/faq"
)

func (f fixture) importFile(t *testing.T, owner db.Bot, file []byte) faq.ImportResult {
	t.Helper()
	done, err := f.faqs.Import(t.Context(), f.org, owner.Slug, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func (f fixture) mustImport(t *testing.T, owner db.Bot, file []byte, created, updated, skipped int, rows ...int) {
	t.Helper()
	done := f.importFile(t, owner, file)
	var wrong []int
	for _, e := range done.Errors {
		wrong = append(wrong, e.Row)
	}
	if done.Created != created || done.Updated != updated || done.Skipped != skipped || !slices.Equal(wrong, rows) {
		t.Errorf("imported %+v, want %d created, %d updated, %d skipped, errors in %v", done, created, updated, skipped, rows)
	}
}

func workbook(t *testing.T, rows ...[]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, row := range rows {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	if err := f.Write(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestImportOfAWorkbook(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	file := workbook(
		t,
		[]any{" 標籤 ", "問題", "答案"},
		[]any{"票，退票", "如何退票？", "<p>請至<b>櫃檯</b>辦理。</p>"},
		[]any{},
		[]any{"", "沒有答案？", ""},
		[]any{"", "", "沒有問題。"},
		[]any{"", "只有標記？", "<br>"},
		[]any{"", "幾號月台？", 3},
	)

	f.mustImport(t, owner, file, 2, 0, 0, 4, 5, 6)
	f.mustImport(t, owner, file, 0, 0, 2, 4, 5, 6)

	found, _, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if found[0].Answer != "3" || found[1].Answer != "請至櫃檯辦理。" || !slices.Equal(found[1].Labels, []string{"票", "退票"}) {
		t.Errorf("found %+v", found)
	}
	if answer, _ := f.ask(t, owner, "退票"); len(answer.Citations) != 1 {
		t.Error("what was imported is not found")
	}
}

func TestImportOfRichText(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	book := excelize.NewFile()
	defer book.Close()
	for cell, runs := range map[string][]excelize.RichTextRun{
		"A1": {{Text: "Ques", Font: &excelize.Font{Bold: true}}, {Text: "tion"}}, "B1": {{Text: "ANSWER"}},
		"A2": {{Text: "Where "}, {Text: "exactly?", Font: &excelize.Font{Italic: true}}}, "B2": {{Text: "He"}, {Text: "re."}},
	} {
		if err := book.SetCellRichText("Sheet1", cell, runs); err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	if err := book.Write(&file); err != nil {
		t.Fatal(err)
	}
	f.mustImport(t, owner, file.Bytes(), 1, 0, 0)
	if _, reply := f.ask(t, owner, "Where exactly?"); reply != "Here." {
		t.Errorf("the answer is %q", reply)
	}
}

func TestImportOfCSV(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, file := range map[string]string{
		"commas":        "question,answer,labels\nWhere?,Here.,\"a,b\"\n",
		"semicolons":    "Question;Answer;Labels\r\nWhere?;Here.;a,b\r\n",
		"tabs":          "\n\nQUESTION\tANSWER\tLABELS\nWhere?\tHere.\ta,b",
		"a mark":        "\xEF\xBB\xBFquestion,answer,labels\nWhere?,Here.,\"a, b\"\n",
		"other columns": "id,answer,labels,question\n1,Here.,\"a,b,\",Where?\n",
		"control":       "question,answer,labels\n\x01Where?\x02,Here.\x7f,\"a,b\"\n",
	} {
		owner := f.createBot(t, name)
		f.mustImport(t, owner, []byte(file), 1, 0, 0)
		found, _, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		if f := found[0]; f.Question != "Where?" || f.Answer != "Here." || !slices.Equal(f.Labels, []string{"a", "b"}) {
			t.Errorf("%s: found %+v", name, f)
		}
	}
}

func TestRowsAreCountedAsTheFileHasThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	file := "question,answer\n\n\"Two\nlines?\",Yes.\n\n ,\nWrong?,\n"
	f.mustImport(t, owner, []byte(file), 1, 0, 0, 6)
}

func TestALaterRowOfTheSameQuestionUpdates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	// given
	f.createFAQ(t, owner, "Old?", "Old.")
	// when, then
	file := []byte("question,answer\nNew?,1\nNew?,1\nNew?,2\nOld?,Newer.\nOld?,Old.\n")
	f.mustImport(t, owner, file, 1, 3, 1)
	for question, want := range map[string]string{"New?": "2", "Old?": "Old."} {
		if _, reply := f.ask(t, owner, question); reply != want {
			t.Errorf("%s is answered %q", question, reply)
		}
	}
}

func TestATableWithoutLabelsLeavesThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	f.mustImport(t, owner, []byte("question,answer,labels\nWhere?,Here.,a\n"), 1, 0, 0)
	f.mustImport(t, owner, []byte("question,answer\nWhere?,Here.\n"), 0, 0, 1)
	f.mustImport(t, owner, []byte("question,answer\nWhere?,There.\n"), 0, 1, 0)
	f.mustImport(t, owner, []byte("question,answer,labels\nWhere?,There.,a\n"), 0, 0, 1)
	f.mustImport(t, owner, []byte("question,answer,labels\nWhere?,There.,\n"), 0, 1, 0)
}

func TestAFileThatCannotBeReadChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	good := workbook(t, []any{"question", "answer"}, []any{"q", "a"})
	const header = `<row r="1"><c r="A1" t="str"><v>question</v></c><c r="B1" t="str"><v>answer</v></c></row>`
	for name, c := range map[string]struct {
		file string
		kind apperr.Kind
	}{
		"nothing":                               {"", apperr.InvalidRequest},
		"blank":                                 {"\n\n,,\n", apperr.InvalidRequest},
		"no columns":                            {"question,reply\nq,a\n", apperr.InvalidRequest},
		"no header":                             {"Where?,Here.\n", apperr.InvalidRequest},
		"Big5":                                  {"question,answer\n\xb0\xdd,\xc3D\n", apperr.InvalidRequest},
		"UTF-16":                                {"\xff\xfeq\x00,\x00a\x00", apperr.InvalidRequest},
		"a stray quote":                         {"question,answer\nq,\"a\nq2,a2\n", apperr.InvalidRequest},
		"old Excel":                             {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", apperr.InvalidRequest},
		"no zip":                                {"PK\x03\x04 nonsense", apperr.InvalidRequest},
		"half a file":                           {string(good[:len(good)/2]), apperr.InvalidRequest},
		"too many rows":                         {"question,answer\n" + strings.Repeat("q,a\n", 20_001), apperr.TooLarge},
		"a zip bomb":                            {string(bomb(t, bombSize)), apperr.TooLarge},
		"one that lies":                         {string(bomb(t, 1000)), apperr.InvalidRequest},
		"an overflow":                           {string(bomb(t, 1<<63)), apperr.TooLarge},
		"a far row":                             {string(farRow(t)), apperr.InvalidRequest},
		"no workbook":                           {string(zipOf(t, map[string]string{"a.txt": "a"})), apperr.InvalidRequest},
		"many strings":                          {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">`+strings.Repeat("<si/>", 3_000_000)+"</sst>", `<row r="1"><c t="s"><v>0</v></c></row>`)), apperr.TooLarge},
		"many sheets":                           {string(zipOf(t, map[string]string{"xl/workbook.xml": "<workbook><sheets>" + strings.Repeat("<sheet/>", 2_000_000) + "</sheets></workbook>"})), apperr.TooLarge},
		"attributes":                            {string(book(t, "", `<row r="1" `+strings.Repeat(`a="" `, 1_000_000)+"/>")), apperr.TooLarge},
		"wide rows":                             {string(book(t, "", header+strings.Repeat(`<row><c r="XFD1" t="str"><v> </v></c></row>`, 1000))), apperr.TooLarge},
		"a long string":                         {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>`+strings.Repeat("a", 200_000)+`</t></si></sst>`, header)), apperr.TooLarge},
		"a long rich string":                    {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si>`+strings.Repeat("<r><t>"+strings.Repeat("a", 20_000)+"</t></r><c/>", 10)+`</si></sst>`, header)), apperr.TooLarge},
		"one string in many cells":              {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>`+strings.Repeat("a", 30_000)+`</t></si></sst>`, header+"<row>"+strings.Repeat(`<c t="s"><v>0</v></c>`, 5000)+"</row>")), apperr.TooLarge},
		"one string in one row again and again": {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>`+strings.Repeat("a", 30_000)+`</t></si></sst>`, header+strings.Repeat(`<row r="1"><c t="s"><v>0</v></c></row>`, 5000))), apperr.TooLarge},
		"one string in no row":                  {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>`+strings.Repeat("a", 30_000)+`</t></si></sst>`, header+`<row r="2"/>`+strings.Repeat(`<c t="s"><v>0</v></c>`, 5000))), apperr.TooLarge},
		"escapes in pieces":                     {string(book(t, "", header+`<row><c t="inlineStr"><is>`+strings.Repeat("<r><t>_</t></r><r><t>x0041_</t></r>", 10_000)+`</is></c></row>`)), apperr.TooLarge},
		"one string in many rows":               {string(book(t, `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>`+strings.Repeat("a", 30_000)+`</t></si></sst>`, header+strings.Repeat(`<row><c t="s"><v>0</v></c></row>`, 5000))), apperr.TooLarge},
		"many escapes":                          {string(book(t, "", header+`<row><c t="inlineStr"><is><t>`+strings.Repeat("_x0041_", 10_000)+`</t></is></c></row>`)), apperr.TooLarge},
		"many commas":                           {"question,answer\n" + strings.Repeat(",", 5_000_000), apperr.TooLarge},
		"entities":                              {string(book(t, `<!DOCTYPE sst [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>&b;</t></si></sst>`, `<row r="1"><c r="A1" t="s"><v>0</v></c></row>`)), apperr.InvalidRequest},
		"another's file":                        {string(book(t, `<!DOCTYPE sst [<!ENTITY a SYSTEM "file:///etc/passwd">]><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>&a;</t></si></sst>`, `<row r="1"><c r="A1" t="s"><v>0</v></c></row>`)), apperr.InvalidRequest},
		"broken content":                        {string(zipOf(t, map[string]string{"xl/workbook.xml": "<", "[Content_Types].xml": "<"})), apperr.InvalidRequest},
	} {
		if _, err := f.faqs.Import(t.Context(), f.org, owner.Slug, []byte(c.file), nil); !apperr.Is(err, c.kind) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, total, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 10); err != nil || total != 0 {
		t.Errorf("%d entries, %v", total, err)
	}
}

func TestImportsAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	file := []byte("question,answer\n")
	for i := range 300 {
		file = fmt.Appendf(file, "Question %d?,Answer %d.\n", i, i)
	}
	var created [4]int
	var all sync.WaitGroup
	for i := range created {
		all.Go(func() {
			done, err := f.faqs.Import(t.Context(), f.org, owner.Slug, file, nil)
			if err != nil {
				t.Error(err)
			}
			created[i] = done.Created
		})
	}
	all.Wait()
	if _, total, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 1); err != nil || total != 300 {
		t.Errorf("%d entries, %v; created %v", total, err, created)
	}
}

// Files that wait for their turn are in memory, so they do not wait for long.
func TestAnImportIsRefusedWhileTooManyFilesAreRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := faq.New(nil, nil) // nobody looks into the database before a file is read
		f.WithAllReadersBusy(func() {
			began := time.Now()
			_, err := f.Import(t.Context(), uuid.Nil, "x", []byte("question,answer\n"), nil)
			told, ok := errors.AsType[*apperr.Error](err)
			if !ok || told.Kind != apperr.Unavailable || told.RetryAfter <= 0 || time.Since(began) > time.Minute {
				t.Errorf("after %v: %#v", time.Since(began), err)
			}
		})
	})
}
