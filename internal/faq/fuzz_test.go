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

	"parley/internal/faq"
)

// A table is the same table as .csv, whatever parts its fields, and as .xlsx.
func FuzzATableIsTheSameInEachFormat(f *testing.F) {
	for _, seed := range [][3]string{
		{"How?", "So.", "a,b"}, {"請問如何退票？", "<p>線上<br>申請</p>", "退票；訂單"}, {" q ", "a\nb", ""}, {"=1+1", "-2", "@x"}, {`"`, `""`, `","`}, {"a;b", "c\td", ";"}, {"", "answer", "x"}, {"question", "", "x"}, {"1", "2.0", "TRUE"},
	} {
		f.Add(seed[0], seed[1], seed[2], byte(0))
		f.Add(seed[0], seed[1], seed[2], byte(1))
	}
	f.Fuzz(func(t *testing.T, question, answer, labels string, parted byte) {
		cells := []string{question, answer, labels}
		for _, cell := range cells {
			// What a cell of one format cannot hold, or holds in other words.
			if !utf8.ValidString(cell) || len(cell) > 2000 || strings.ContainsFunc(cell, func(r rune) bool {
				return unicode.IsControl(r) && r != '\n' || r == '\ufffe' || r == '\uffff' || r == '_' || r == '\ufeff'
			}) {
				return
			}
		}
		var text bytes.Buffer
		w := csv.NewWriter(&text)
		w.Comma = rune(",;\t"[parted%3])
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
		fromText, textErr := faq.ReadFile(text.Bytes())
		fromBook, bookErr := faq.ReadFile(file.Bytes())
		if textErr != nil || bookErr != nil {
			t.Fatalf("%q: %v, %v", cells, textErr, bookErr)
		}
		if !reflect.DeepEqual(fromText, fromBook) {
			t.Fatalf("%q: as text %+v, as a workbook %+v", cells, fromText, fromBook)
		}
	})
}
