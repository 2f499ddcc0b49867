package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/xuri/excelize/v2"

	"parley/internal/xlsx"
)

// The ways of writing a sheet that an export is compared with.
const (
	wayExcelize = "excelize"
	wayZip      = "zip"
)

// sheet is a file that another process is to write: so many records, in one of the
// ways.
type sheet struct {
	Way          string
	First, Count int
}

// sheetFound is what that took, without making the records.
type sheetFound struct {
	CPU, Elapsed time.Duration
}

func runSheet(_ context.Context, in io.Reader, out io.Writer) error {
	var s sheet
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	records := make([]record, s.Count)
	for i := range records {
		records[i] = recordOf(s.First + i)
	}
	write := func() error { return writeByExcelize(records) }
	if s.Way == wayZip {
		ready, err := readyXML(records)
		if err != nil {
			return err
		}
		write = func() error { return writeByZip(ready) }
	}
	before, began := ownCPU(), time.Now()
	if err := write(); err != nil {
		return fmt.Errorf("%s: %w", s.Way, err)
	}
	return json.NewEncoder(out).Encode(sheetFound{ownCPU() - before, time.Since(began)})
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it fails for bad arguments alone
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var titles = []string{
	"ID", "User input", "Condensed input", "Type", "Reference", "Output", "Faithfulness", "Answer relevancy", "Answer correctness",
	"Answer similarity", "Context precision", "Context recall", "Reply time (s)", "Created at",
}

// cells are those of an export's row; nil is an empty one.
func (r record) cells() []any {
	cells := []any{
		r.id.String(), r.question, "", r.kind, r.context, r.answer, nil, nil, nil, nil, nil, nil, r.seconds, r.at.Truncate(time.Second).UTC(),
	}
	if r.score != nil {
		cells[6], cells[7] = *r.score, *r.score
	}
	return cells
}

func writeByExcelize(records []record) (err error) {
	file := excelize.NewFile()
	defer func() { err = errors.Join(err, file.Close()) }()
	format := "yyyy-mm-dd hh:mm:ss"
	style, err := file.NewStyle(&excelize.Style{CustomNumFmt: &format})
	if err != nil {
		return err
	}
	stream, err := file.NewStreamWriter("Sheet1")
	if err != nil {
		return err
	}
	header := make([]any, len(titles))
	for i, title := range titles {
		header[i] = title
	}
	if err := stream.SetRow("A1", header); err != nil {
		return err
	}
	for i, one := range records {
		cells := one.cells()
		cells[13] = excelize.Cell{StyleID: style, Value: cells[13]}
		if err := stream.SetRow(fmt.Sprint("A", i+2), cells); err != nil {
			return err
		}
	}
	if err := stream.Flush(); err != nil {
		return err
	}
	_, err = file.WriteTo(io.Discard)
	return err
}

// readyXML is the sheet as the product writes it.
func readyXML(records []record) ([]byte, error) {
	var file bytes.Buffer
	book := xlsx.New(&file)
	columns := make([]xlsx.Column, len(titles))
	for i, title := range titles {
		columns[i] = xlsx.Column{Title: title}
	}
	if err := book.Sheet("Records", columns...); err != nil {
		return nil, err
	}
	for _, one := range records {
		for _, cell := range one.cells() {
			switch value := cell.(type) {
			case string:
				book.Text(value)
			case float64:
				book.Number(value)
			case time.Time:
				book.Time(value)
			default:
				book.Empty()
			}
		}
		if err := book.EndRow(); err != nil {
			return nil, err
		}
	}
	if err := book.Close(); err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		return nil, err
	}
	for _, part := range archive.File {
		if strings.HasPrefix(part.Name, "xl/worksheets/sheet") {
			content, err := part.Open()
			if err != nil {
				return nil, err
			}
			defer content.Close()
			return io.ReadAll(content)
		}
	}
	return nil, errors.New("the file has no sheet")
}

func writeByZip(ready []byte) error {
	archive := zip.NewWriter(io.Discard)
	archive.RegisterCompressor(zip.Deflate, func(to io.Writer) (io.WriteCloser, error) { return flate.NewWriter(to, 6) })
	part, err := archive.Create("xl/worksheets/sheet1.xml")
	if err != nil {
		return err
	}
	if _, err := part.Write(ready); err != nil {
		return err
	}
	return archive.Close()
}
