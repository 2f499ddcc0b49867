package faq_test

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"parley/internal/apperr"
	"parley/internal/faq"
)

// A table has the same rows as .csv, with any separator, and as .xlsx.
func FuzzFormatsAgree(f *testing.F) {
	for _, seed := range [][3]string{
		{"How?", "So.", "a,b"}, {"請問如何退票？", "<p>線上<br>申請</p>", "退票；訂單"}, {" q ", "a\nb", ""}, {"=1+1", "-2", "@x"}, {`"`, `""`, `","`}, {"a;b", "c\td", ";"}, {"", "answer", "x"}, {"question", "", "x"}, {"1", "2.0", "TRUE"},
	} {
		f.Add(seed[0], seed[1], seed[2], byte(0))
		f.Add(seed[0], seed[1], seed[2], byte(1))
	}
	f.Fuzz(func(t *testing.T, question, answer, labels string, separator byte) {
		cells := []string{question, answer, labels}
		for _, cell := range cells {
			// These are not possible in both formats, or are written differently.
			if !utf8.ValidString(cell) || len(cell) > 2000 || strings.ContainsFunc(cell, func(r rune) bool {
				return unicode.IsControl(r) && r != '\n' || r == '\ufffe' || r == '\uffff' || r == '_' || r == '\ufeff'
			}) {
				return
			}
		}
		var text bytes.Buffer
		w := csv.NewWriter(&text)
		w.Comma = rune(",;\t"[separator%3])
		_ = w.WriteAll([][]string{{"question", "answer", "labels"}, cells}) // to memory
		book := excelize.NewFile()
		for i, cell := range cells {
			column := string(rune('A' + i))
			if err := book.SetCellStr("Sheet1", column+"1", []string{"question", "answer", "labels"}[i]); err != nil {
				t.Fatal(err)
			}
			if err := book.SetCellStr("Sheet1", column+"2", cell); err != nil {
				t.Fatal(err)
			}
		}
		var file bytes.Buffer
		if err := book.Write(&file); err != nil {
			t.Fatal(err)
		}
		fromCSV, csvErr := faq.ReadFile(text.Bytes())
		fromXLSX, xlsxErr := faq.ReadFile(file.Bytes())
		if csvErr != nil || xlsxErr != nil {
			t.Fatalf("%q: got errors %v and %v", cells, csvErr, xlsxErr)
		}
		if !reflect.DeepEqual(fromCSV, fromXLSX) {
			t.Fatalf("%q: .csv gives %+v, .xlsx gives %+v", cells, fromCSV, fromXLSX)
		}
	})
}

// Any file gives rows or an error of the caller.
func FuzzReadFile(f *testing.F) {
	book := excelize.NewFile()
	book.SetSheetRow("Sheet1", "A1", &[]any{"question", "answer"})
	book.SetSheetRow("Sheet1", "A2", &[]any{"q", "a"})
	var file bytes.Buffer
	if err := book.Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(zipOf(f, map[string]string{"xl/workbook.xml": "<workbook><sheets><sheet/></sheets></workbook>"}))
	f.Add([]byte("question,answer\nq,a\n"))
	f.Add([]byte("\xEF\xBB\xBF問題;答案;標籤\n\n\"q\n\";a;b\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := faq.ReadFile(file)
		if err != nil && apperr.KindOf(err) == apperr.Internal {
			t.Errorf("got internal error %v", err)
		}
		if len(rows) > 20_000 {
			t.Errorf("got %d rows", len(rows))
		}
	})
}

// The text of any source is trimmed, valid UTF-8 without NUL.
func FuzzHTMLToText(f *testing.F) {
	for _, seed := range []string{
		"<p>a<br>b</p>", "a < b", "<a href='x'>y", "&lt;p&gt;", "<script>", "<pre> a\n b", "<b", "<!-- a", "\x00<p>\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		text := faq.HTMLToText(source)
		if strings.TrimSpace(text) != text || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			t.Errorf("%q: got %q", source, text)
		}
	})
}

// The terms of any text are bounded, unique and valid UTF-8.
func FuzzTerms(f *testing.F) {
	for _, seed := range []string{"請問如何退票？", "Refunds are processed", "T-EX 3G", "か゚ー", "한국어", "a\u0301\u200d", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[string]bool{}
		for _, term := range faq.Terms(text) {
			if term == "" || seen[term] || utf8.RuneCountInString(term) > 64 || !utf8.ValidString(term) {
				t.Errorf("%q: got term %q", text, term)
			}
			seen[term] = true
		}
		if len(seen) > 400 {
			t.Errorf("got %d terms, want at most 400", len(seen))
		}
		faq.QuestionKey(text)
	})
}
