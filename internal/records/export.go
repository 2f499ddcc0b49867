package records

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/store"
	"parley/internal/xlsx"
)

const (
	// blockRows and blockBytes bound what is read at once: enough that asking costs
	// little beside reading, and too little to be noticed in memory.
	blockRows  = 2000
	blockBytes = 2 << 20
	// overflowRows is how many of the rows that have a long text are read at once.
	overflowRows = 10
)

// Export is an Excel file about to be written: its rows are settled, but for those
// that are deleted before they are reached.
type Export struct {
	store        *store.Store
	organization uuid.UUID
	bot          uuid.UUID
	filter       Filter
	words        words
	until        time.Time
}

// Export prepares the file of the records that List counts, with headers in a
// language. A record that is finished after this is not in it.
func (r *Records) Export(ctx context.Context, organization, bot uuid.UUID, filter Filter, locale Locale) (*Export, error) {
	// By the clock that dates the records, to the microsecond.
	now, err := r.store.GetTime(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the time: %w", err)
	}
	_, until := filter.Days.span()
	if after := now.Add(time.Microsecond); after.Before(until) {
		until = after
	}
	return &Export{store: r.store, organization: organization, bot: bot, filter: filter, words: wordsOf(locale), until: until}, nil
}

// Write writes the file: the records newest first, on the sheet Records, and what
// is longer than a cell on the sheet Overflow. The start of the file reaches w before
// anything is read. It holds a connection to the database only while it reads a
// block, never while it waits for w, and no more in memory than that block and 16
// bytes for each record with a text that is longer than a cell.
//
// An error, the context's end among them, leaves w with the beginning of a file that
// no program opens; the rest must not be made up for.
func (e *Export) Write(ctx context.Context, w io.Writer) error {
	book := xlsx.New(w)
	if err := book.Sheet("Records", e.words.columns()...); err != nil {
		return fmt.Errorf("begin the file: %w", err)
	}
	long, err := e.writeRecords(ctx, book)
	if err != nil {
		return err
	}
	if len(long) > 0 {
		if err := e.writeOverflow(ctx, book, long); err != nil {
			return err
		}
	}
	if err := book.Close(); err != nil {
		return fmt.Errorf("end the file: %w", err)
	}
	return nil
}

// writeRecords writes a row for each record, and returns the ids of those that have
// more than their cells can hold.
func (e *Export) writeRecords(ctx context.Context, book *xlsx.Workbook) (long []uuid.UUID, err error) {
	since, _ := e.filter.Days.span()
	user, answer := patternOf(e.filter.UserMessage), patternOf(e.filter.BotMessage)
	next := db.ListRecordsBeforeParams{
		OrganizationID: e.organization,
		BotID:          e.bot,
		Since:          since,
		BeforeTime:     e.until, // before any id: the zero id is the least
		UserLike:       user.like,
		UserIlike:      user.ilike,
		BotLike:        answer.like,
		BotIlike:       answer.ilike,
		BlockRows:      blockRows,
		BlockBytes:     blockBytes,
	}
	for {
		block, err := e.store.ListRecordsBefore(ctx, next)
		if err != nil {
			return nil, fmt.Errorf("read a block of records: %w", err)
		}
		if len(block) == 0 {
			return long, nil
		}
		for _, record := range block {
			isLong, err := e.writeRecord(book, record)
			if err != nil {
				return nil, fmt.Errorf("write a record: %w", err)
			}
			if isLong {
				long = append(long, record.ID)
			}
		}
		last := block[len(block)-1]
		next.BeforeTime, next.BeforeID = last.CreatedAt, last.ID
	}
}

// writeRecord writes the cells in the order of words.headers.
func (e *Export) writeRecord(book *xlsx.Workbook, record db.ListRecordsBeforeRow) (isLong bool, err error) {
	text := func(text string) {
		head, rest := xlsx.Cut(text, e.words.mark)
		if rest != "" {
			isLong = true
			head += e.words.mark
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
	book.Time(record.CreatedAt.Truncate(time.Second).In(e.filter.Days.zone))
	return isLong, book.EndRow()
}

// writeOverflow goes once more over the records with a text that is too long for its
// cell, and writes what did not fit in rows of one piece each. The texts of a record
// never change, so the pieces go on where its cells end.
func (e *Export) writeOverflow(ctx context.Context, book *xlsx.Workbook, long []uuid.UUID) error {
	if err := book.Sheet("Overflow", e.words.overflowColumns()...); err != nil {
		return fmt.Errorf("begin the overflow sheet: %w", err)
	}
	for len(long) > 0 {
		ids := long[:min(overflowRows, len(long))]
		long = long[len(ids):]
		block, err := e.store.ListLongTexts(ctx, e.organization, ids)
		if err != nil {
			return fmt.Errorf("read long records: %w", err)
		}
		for _, record := range block {
			for _, cell := range []struct {
				column int
				text   string
			}{{1, record.InputMessage}, {2, record.CondenseMessage}, {4, record.Context}, {5, record.OutputMessage}} {
				if err := e.writePieces(book, record.ID, e.words.headers[cell.column], cell.text); err != nil {
					return fmt.Errorf("write a long text: %w", err)
				}
			}
		}
	}
	return nil
}

// writePieces numbers the pieces from 2: the first is in the record's own row.
func (e *Export) writePieces(book *xlsx.Workbook, id uuid.UUID, header, text string) error {
	_, rest := xlsx.Cut(text, e.words.mark)
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
