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

// overflowBlock is how many records with long texts are read at once.
const overflowBlock = 10

// WriteExcel writes the export as an Excel file with headers in the locale's language. The sheet
// Records has a row per record, the sheet Overflow the rest of the texts that do not fit in a cell.
// The start of the file reaches w before any record is read. In memory it keeps one block, and the
// ID of each record with a text that does not fit.
//
// After an error, including the end of ctx, w has an incomplete file, which no program opens.
func (e *Export) WriteExcel(ctx context.Context, w io.Writer, locale Locale) (err error) {
	end := e.counters.begin()
	defer func() { end(err) }()
	labels := labelsOf(locale)
	file := &blockBuffer{to: w}
	book := xlsx.New(file)
	if err := book.Sheet("Records", labels.columns()...); err != nil {
		return fmt.Errorf("start the file: %w", err)
	}
	if err := file.flush(); err != nil {
		return err
	}
	var long []uuid.UUID
	err = e.writeBlocks(ctx, file, func(record *db.Record) error {
		isLong, err := e.writeRecord(book, labels, record)
		if isLong {
			long = append(long, record.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(long) > 0 {
		if err := e.writeOverflow(ctx, file, book, labels, long); err != nil {
			return err
		}
	}
	if err := book.Close(); err != nil {
		return fmt.Errorf("finish the file: %w", err)
	}
	return file.flush()
}

// writeRecord writes the cells in the order of labels.headers. It reports whether a text did not
// fit.
func (e *Export) writeRecord(book *xlsx.Workbook, labels labels, record *db.Record) (isLong bool, err error) {
	text := func(text string) {
		head, rest := xlsx.Cut(text, labels.mark)
		if rest != "" {
			isLong = true
			head += labels.mark
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
	// Programs round to the displayed second, which would move the last record of a day to the
	// next.
	book.Time(record.CreatedAt.Truncate(time.Second).In(e.zone))
	if record.Model == nil {
		book.Empty()
	} else {
		text(*record.Model)
	}
	for _, count := range [...]*int32{record.PromptTokens, record.CompletionTokens, record.CachedTokens, record.ReasoningTokens} {
		if count == nil {
			book.Empty()
		} else {
			book.Number(float64(*count))
		}
	}
	return isLong, book.EndRow()
}

// writeOverflow reads the records with long texts again and writes the rest of each text, one row
// per part. Texts never change, so the parts continue exactly where the cells end.
func (e *Export) writeOverflow(ctx context.Context, file *blockBuffer, book *xlsx.Workbook, labels labels, long []uuid.UUID) error {
	if err := book.Sheet("Overflow", labels.overflowColumns()...); err != nil {
		return fmt.Errorf("start the overflow sheet: %w", err)
	}
	for len(long) > 0 {
		ids := long[:min(overflowBlock, len(long))]
		long = long[len(ids):]
		if err := e.addOverflow(ctx, book, labels, ids); err != nil {
			return err
		}
		if err := file.flush(); err != nil {
			return err
		}
	}
	return nil
}

// addOverflow writes the overflow of a few records in one turn.
func (e *Export) addOverflow(ctx context.Context, book *xlsx.Workbook, labels labels, ids []uuid.UUID) error {
	turn, err := e.throttle.begin(ctx, e.first.OrganizationID)
	if err != nil {
		return err
	}
	defer turn.end()
	block, err := e.store.ForExports().ListRecordTexts(ctx, e.first.OrganizationID, ids)
	if err != nil {
		return fmt.Errorf("read long records: %w", err)
	}
	for _, record := range block {
		for _, cell := range []struct {
			column int
			text   string
		}{{1, record.InputMessage}, {2, record.CondenseMessage}, {4, record.Context}, {5, record.OutputMessage}} {
			if err := writeParts(book, record.ID, labels.headers[cell.column], cell.text, labels.mark); err != nil {
				return fmt.Errorf("write a long text: %w", err)
			}
		}
	}
	return nil
}

// writeParts writes the parts of a text from the second on; the first is in the record's own row.
func writeParts(book *xlsx.Workbook, id uuid.UUID, header, text, mark string) error {
	_, rest := xlsx.Cut(text, mark)
	for part := 2; rest != ""; part++ {
		var text string
		text, rest = xlsx.Cut(rest, "")
		book.Text(id.String())
		book.Text(header)
		book.Number(float64(part))
		book.Text(text)
		if err := book.EndRow(); err != nil {
			return err
		}
	}
	return nil
}
