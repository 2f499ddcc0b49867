package xlsx_test

import (
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"parley/internal/xlsx"
)

const benchRows = 100_000

// benchTexts holds texts of various lengths in two languages.
var benchTexts = func() (texts [1000]string) {
	words := strings.Fields("the warranty of a device covers two years from its purchase <water> & dust are not part 保固期 為 購買日 " +
		"起 兩年 水損 與 灰塵 不在 範圍 內 see chapter limits list service points last page how long does it take to repair please")
	random := rand.New(rand.NewPCG(1, 2))
	for i := range texts {
		for range 5 + random.IntN(60) {
			texts[i] += words[random.IntN(len(words))] + " "
		}
		texts[i] += strconv.Itoa(i) + "?\nYes."
	}
	return texts
}()

// score returns a number like an evaluation score.
func score(row, column int) float64 {
	return float64((row*7919+column*104_729)%10_000) / 10_000
}

// benchColumns returns as many columns as the export of records has.
func benchColumns() []xlsx.Column {
	columns := make([]xlsx.Column, 14)
	for i := range columns {
		columns[i] = xlsx.Column{Title: "Column " + strconv.Itoa(i+1), Width: 20}
	}
	return columns
}

func BenchmarkRows(b *testing.B) {
	at := time.Date(2026, time.March, 1, 9, 30, 0, 0, time.FixedZone("", 8*60*60))
	b.ReportAllocs()
	for b.Loop() {
		book := xlsx.New(io.Discard)
		book.Sheet("Records", benchColumns()...)
		for i := range benchRows {
			book.Number(float64(i))
			for text := range 5 {
				book.Text(benchTexts[(i*31+text*7)%len(benchTexts)])
			}
			for number := range 7 {
				book.Number(score(i, number))
			}
			book.Time(at.Add(time.Duration(i) * time.Second))
			if err := book.EndRow(); err != nil {
				b.Fatal(err)
			}
		}
		if err := book.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchRows), "ns/row")
}

// BenchmarkHotRow writes a row of a long sheet.
func BenchmarkHotRow(b *testing.B) {
	book := xlsx.New(io.Discard)
	book.Sheet("Records", benchColumns()...)
	at := time.Date(2026, time.March, 1, 9, 30, 0, 0, time.UTC)
	b.ReportAllocs()
	for row := 0; b.Loop(); row++ {
		book.Number(float64(row))
		for text := range 5 {
			book.Text(benchTexts[(row*31+text*7)%len(benchTexts)])
		}
		for number := range 7 {
			book.Number(score(row, number))
		}
		book.Time(at)
		if err := book.EndRow(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExcelizeRows writes the same rows with excelize's stream writer.
func BenchmarkExcelizeRows(b *testing.B) {
	at := time.Date(2026, time.March, 1, 9, 30, 0, 0, time.FixedZone("", 8*60*60))
	b.ReportAllocs()
	for b.Loop() {
		book := excelize.NewFile()
		sheet, err := book.NewStreamWriter("Sheet1")
		if err != nil {
			b.Fatal(err)
		}
		style, err := book.NewStyle(&excelize.Style{NumFmt: 22})
		if err != nil {
			b.Fatal(err)
		}
		row := make([]any, 14)
		for i, column := range benchColumns() {
			row[i] = column.Title
		}
		if err := sheet.SetRow("A1", row); err != nil {
			b.Fatal(err)
		}
		for i := range benchRows {
			row[0] = i
			for text := range 5 {
				row[1+text] = benchTexts[(i*31+text*7)%len(benchTexts)]
			}
			for number := range 7 {
				row[6+number] = score(i, number)
			}
			row[13] = excelize.Cell{StyleID: style, Value: at.Add(time.Duration(i) * time.Second)}
			if err := sheet.SetRow("A"+strconv.Itoa(i+2), row); err != nil {
				b.Fatal(err)
			}
		}
		if err := sheet.Flush(); err != nil {
			b.Fatal(err)
		}
		if _, err := book.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		if err := book.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchRows), "ns/row")
}
