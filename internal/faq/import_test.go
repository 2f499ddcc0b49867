package faq_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// mustImport imports a file and checks the counts and the rows with errors.
func (f fixture) mustImport(t *testing.T, owner db.Bot, file []byte, created, updated, skipped int, errorRows ...int) {
	t.Helper()
	result, err := f.faqs.Import(t.Context(), f.org, owner.Slug, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, e := range result.Errors {
		got = append(got, e.Row)
	}
	if result.Created != created || result.Updated != updated || result.Skipped != skipped || !slices.Equal(got, errorRows) {
		t.Errorf("got %+v, want %d created, %d updated, %d skipped, errors in rows %v", result, created, updated, skipped, errorRows)
	}
}

// workbook returns an .xlsx file with these rows.
func workbook(t *testing.T, rows ...[]any) []byte {
	t.Helper()
	book := excelize.NewFile()
	defer book.Close()
	for i, row := range rows {
		if err := book.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	return save(t, book)
}

func save(t *testing.T, book *excelize.File) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := book.Write(&file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestImportXLSX(t *testing.T) {
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

	got, _, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Answer != "3" || got[1].Answer != "請至櫃檯辦理。" || !slices.Equal(got[1].Labels, []string{"票", "退票"}) {
		t.Errorf("got %+v", got)
	}
	if answer, _ := f.ask(t, owner, "退票"); len(answer.Citations) != 1 {
		t.Error("an imported FAQ is not found")
	}
}

func TestImportXLSXWithRichText(t *testing.T) {
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
	f.mustImport(t, owner, save(t, book), 1, 0, 0)
	if _, reply := f.ask(t, owner, "Where exactly?"); reply != "Here." {
		t.Errorf("got reply %q", reply)
	}
}

func TestImportCSV(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, file := range map[string]string{
		"commas":             "question,answer,labels\nWhere?,Here.,\"a,b\"\n",
		"semicolons":         "Question;Answer;Labels\r\nWhere?;Here.;a,b\r\n",
		"tabs":               "\n\nQUESTION\tANSWER\tLABELS\nWhere?\tHere.\ta,b",
		"byte order mark":    "\xEF\xBB\xBFquestion,answer,labels\nWhere?,Here.,\"a, b\"\n",
		"other columns":      "id,answer,labels,question\n1,Here.,\"a,b,\",Where?\n",
		"control characters": "question,answer,labels\n\x01Where?\x02,Here.\x7f,\"a,b\"\n",
	} {
		owner := f.createBot(t, name)
		f.mustImport(t, owner, []byte(file), 1, 0, 0)
		got, _, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		if entry := got[0]; entry.Question != "Where?" || entry.Answer != "Here." || !slices.Equal(entry.Labels, []string{"a", "b"}) {
			t.Errorf("%s: got %+v", name, entry)
		}
	}
}

func TestImportCountsBlankRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	file := "question,answer\n\n\"Two\nlines?\",Yes.\n\n ,\nWrong?,\n"
	f.mustImport(t, owner, []byte(file), 1, 0, 0, 6)
}

func TestImportUpdatesEqualQuestions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	f.createFAQ(t, owner, "Old?", "Old.")

	file := []byte("question,answer\nNew?,1\nNew?,1\nNew?,2\nOld?,Newer.\nOld?,Old.\n")
	f.mustImport(t, owner, file, 1, 3, 1)

	for question, want := range map[string]string{"New?": "2", "Old?": "Old."} {
		if _, reply := f.ask(t, owner, question); reply != want {
			t.Errorf("%s: got reply %q, want %q", question, reply, want)
		}
	}
}

func TestImportWithoutLabelsKeepsThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	f.mustImport(t, owner, []byte("question,answer,labels\nWhere?,Here.,a\n"), 1, 0, 0)
	f.mustImport(t, owner, []byte("question,answer\nWhere?,Here.\n"), 0, 0, 1)
	f.mustImport(t, owner, []byte("question,answer\nWhere?,There.\n"), 0, 1, 0)
	f.mustImport(t, owner, []byte("question,answer,labels\nWhere?,There.,a\n"), 0, 0, 1)
	f.mustImport(t, owner, []byte("question,answer,labels\nWhere?,There.,\n"), 0, 1, 0)
}

func TestInvalidFilesChangeNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	cases := invalidCSVFiles()
	maps.Copy(cases, invalidWorkbooks(t))
	maps.Copy(cases, workbooksWithLargeTexts(t))
	for name, c := range cases {
		if _, err := f.faqs.Import(t.Context(), f.org, owner.Slug, c.file, nil); !apperr.Is(err, c.kind) {
			t.Errorf("%s: got error %v, want kind %s", name, err, c.kind)
		}
	}
	if _, total, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 10); err != nil || total != 0 {
		t.Errorf("got %d FAQs, error %v, want none", total, err)
	}
}

func TestConcurrentImportsAreSerialized(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	file := []byte("question,answer\n")
	for i := range 300 {
		file = fmt.Appendf(file, "Question %d?,Answer %d.\n", i, i)
	}
	var created [4]int
	var imports sync.WaitGroup
	for i := range created {
		imports.Go(func() {
			result, err := f.faqs.Import(t.Context(), f.org, owner.Slug, file, nil)
			if err != nil {
				t.Error(err)
			}
			created[i] = result.Created
		})
	}
	imports.Wait()
	if _, total, err := f.faqs.List(t.Context(), f.org, owner.Slug, 1, 1); err != nil || total != 300 {
		t.Errorf("got %d FAQs, error %v, want 300; imports created %v", total, err, created)
	}
}

// Files that wait for a reader are in memory, so the wait is bounded.
func TestImportIsRejectedWhileAllReadersAreBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := faq.New(nil, nil) // the file is read before the database is used
		f.WithAllReadersBusy(func() {
			start := time.Now()
			_, err := f.Import(t.Context(), uuid.Nil, "x", []byte("question,answer\n"), nil)
			apiErr, ok := errors.AsType[*apperr.Error](err)
			if !ok || apiErr.Kind != apperr.Unavailable || apiErr.RetryAfter <= 0 || time.Since(start) > time.Minute {
				t.Errorf("got error %#v after %v", err, time.Since(start))
			}
		})
	})
}
