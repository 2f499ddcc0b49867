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

// The methods of writing a sheet that an export is compared with.
const (
	sheetByExcelize = "excelize"
	sheetByZip      = "zip"
)

// sheetJob configures a sheet process: which records to write, and how.
type sheetJob struct {
	Method       string
	First, Count int
}

// sheetResult is the cost of writing, without generating the records.
type sheetResult struct {
	CPU, Elapsed time.Duration
}

// runSheet is the sheet process.
func runSheet(_ context.Context, in io.Reader, out io.Writer) error {
	var job sheetJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return err
	}
	records := make([]record, job.Count)
	for i := range records {
		records[i] = recordOf(job.First + i)
	}
	write := func() error { return writeByExcelize(records) }
	if job.Method == sheetByZip {
		xml, err := sheetXML(records)
		if err != nil {
			return err
		}
		write = func() error { return writeByZip(xml) }
	}
	before, start := ownCPU(), time.Now()
	if err := write(); err != nil {
		return fmt.Errorf("%s: %w", job.Method, err)
	}
	return json.NewEncoder(out).Encode(sheetResult{ownCPU() - before, time.Since(start)})
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it fails only for invalid arguments
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var titles = []string{
	"ID", "User input", "Condensed input", "Type", "Reference", "Output", "Faithfulness", "Answer relevancy", "Answer correctness",
	"Answer similarity", "Context precision", "Context recall", "Reply time (s)", "Created at",
}

// cells returns the row of a record in an export; nil is an empty cell.
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
	for i, r := range records {
		cells := r.cells()
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

// sheetXML returns the XML of the sheet as the product writes it.
func sheetXML(records []record) ([]byte, error) {
	var file bytes.Buffer
	book := xlsx.New(&file)
	columns := make([]xlsx.Column, len(titles))
	for i, title := range titles {
		columns[i] = xlsx.Column{Title: title}
	}
	if err := book.Sheet("Records", columns...); err != nil {
		return nil, err
	}
	for _, r := range records {
		for _, cell := range r.cells() {
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

func writeByZip(xml []byte) error {
	archive := zip.NewWriter(io.Discard)
	archive.RegisterCompressor(zip.Deflate, func(to io.Writer) (io.WriteCloser, error) { return flate.NewWriter(to, 6) })
	part, err := archive.Create("xl/worksheets/sheet1.xml")
	if err != nil {
		return err
	}
	if _, err := part.Write(xml); err != nil {
		return err
	}
	return archive.Close()
}
