package records

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/xlsx"
)

// overflowRows is how many of the rows that have a long text are read at once.
const overflowRows = 10

// WriteExcel writes the export as an Excel file with headers in a language: the
// records on the sheet Records, and what is longer than a cell on the sheet Overflow.
// The start of the file reaches w before anything is read. Beside a block it keeps 16
// bytes for each record with a text that is longer than a cell.
//
// An error, the context's end among them, leaves w with the beginning of a file that
// no program opens; the rest must not be made up for.
func (e *Export) WriteExcel(ctx context.Context, w io.Writer, locale Locale) (err error) {
	ended := e.tally.note()
	defer func() { ended(err) }()
	words := wordsOf(locale)
	file := &file{to: w}
	book := xlsx.New(file)
	if err := book.Sheet("Records", words.columns()...); err != nil {
		return fmt.Errorf("begin the file: %w", err)
	}
	if err := file.send(); err != nil {
		return err
	}
	var long []uuid.UUID
	err = e.inBlocks(ctx, file, func(record *db.Record) error {
		isLong, err := e.writeRecord(book, words, record)
		if isLong {
			long = append(long, record.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(long) > 0 {
		if err := e.writeOverflow(ctx, file, book, words, long); err != nil {
			return err
		}
	}
	if err := book.Close(); err != nil {
		return fmt.Errorf("end the file: %w", err)
	}
	return file.send()
}

// writeRecord writes the cells in the order of words.headers.
func (e *Export) writeRecord(book *xlsx.Workbook, words words, record *db.Record) (isLong bool, err error) {
	text := func(text string) {
		head, rest := xlsx.Cut(text, words.mark)
		if rest != "" {
			isLong = true
			head += words.mark
		}
		book.Text(head)
	}
	number := func(number *float64) {
		if number == nil {
			book.Empty()
		} else {
			book.Number(*number)
		}
	}
	book.Text(record.ID.String())
	text(record.InputMessage)
	text(record.CondenseMessage)
	book.Text(record.Type)
	text(record.Context)
	text(record.OutputMessage)
	number(record.FaithfulnessScore)
	number(record.AnswerRelevancyScore)
	number(record.AnswerCorrectnessScore)
	number(record.AnswerSimilarityScore)
	number(record.ContextPrecisionScore)
	number(record.ContextRecallScore)
	number(record.ReplyTime)
	// Programs round to the second that they show: a fraction would put the last
	// record of a day on the next.
	book.Time(record.CreatedAt.Truncate(time.Second).In(e.zone))
	return isLong, book.EndRow()
}

// writeOverflow goes once more over the records with a text that is too long for its
// cell, and writes what did not fit in rows of one piece each. The texts of a record
// never change, so the pieces go on where its cells end.
func (e *Export) writeOverflow(ctx context.Context, file *file, book *xlsx.Workbook, words words, long []uuid.UUID) error {
	if err := book.Sheet("Overflow", words.overflowColumns()...); err != nil {
		return fmt.Errorf("begin the overflow sheet: %w", err)
	}
	for len(long) > 0 {
		ids := long[:min(overflowRows, len(long))]
		long = long[len(ids):]
		if err := e.addOverflow(ctx, book, words, ids); err != nil {
			return err
		}
		if err := file.send(); err != nil {
			return err
		}
	}
	return nil
}

// addOverflow does it for a few of them, in one turn.
func (e *Export) addOverflow(ctx context.Context, book *xlsx.Workbook, words words, ids []uuid.UUID) error {
	turn, err := e.turns.begin(ctx)
	if err != nil {
		return err
	}
	defer turn.end()
	block, err := e.store.ListRecordTexts(ctx, e.first.OrganizationID, ids)
	if err != nil {
		return fmt.Errorf("read long records: %w", err)
	}
	for _, record := range block {
		for _, cell := range []struct {
			column int
			text   string
		}{{1, record.InputMessage}, {2, record.CondenseMessage}, {4, record.Context}, {5, record.OutputMessage}} {
			if err := writePieces(book, record.ID, words.headers[cell.column], cell.text, words.mark); err != nil {
				return fmt.Errorf("write a long text: %w", err)
			}
		}
	}
	return nil
}

// writePieces numbers the pieces from 2: the first is in the record's own row.
func writePieces(book *xlsx.Workbook, id uuid.UUID, header, text, mark string) error {
	_, rest := xlsx.Cut(text, mark)
	for part := 2; rest != ""; part++ {
		var piece string
		piece, rest = xlsx.Cut(rest, "")
		book.Text(id.String())
		book.Text(header)
		book.Number(float64(part))
		book.Text(piece)
		if err := book.EndRow(); err != nil {
			return err
		}
	}
	return nil
}
