package records

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/audit"
	"parley/internal/store"
)

const (
	// blockRows and blockBytes bound a block, which is read and encoded in one turn. A block is large enough that the
	// cost of its query hardly matters, and small enough for memory and for the wait of the next turn.
	blockRows  = 500
	blockBytes = 512 << 10
	// chunkBytes is the size of a single write to the reader.
	chunkBytes = 32 << 10
)

// Export is a file that is about to be written. It contains the records that existed when it was
// prepared, except those deleted before they are read.
type Export struct {
	store    *store.Store
	throttle *throttle
	counters *exportCounters
	zone     *time.Location
	first    db.ListRecordsBeforeParams // selects the first block
}

// ExportStats are counters since the start of the process. Aborted exports ended with an error, for
// instance because the reader disconnected.
type ExportStats struct{ InProgress, Completed, Aborted int64 }

// ExportStats returns the current counters.
func (r *Records) ExportStats() ExportStats {
	c := r.exports
	return ExportStats{InProgress: c.inProgress.Load(), Completed: c.completed.Load(), Aborted: c.aborted.Load()}
}

type exportCounters struct{ inProgress, completed, aborted atomic.Int64 }

// begin counts an export; its end is counted by the returned function.
func (c *exportCounters) begin() (end func(err error)) {
	c.inProgress.Add(1)
	return func(err error) {
		c.inProgress.Add(-1)
		if err != nil {
			c.aborted.Add(1)
		} else {
			c.completed.Add(1)
		}
	}
}

// Export prepares a file of the records that List counts, and records the export in the audit
// trail. Records that are finished later are not included.
func (r *Records) Export(ctx context.Context, organization, bot uuid.UUID, filter Filter) (*Export, error) {
	session, err := r.findSession(ctx, organization, bot, filter)
	if err != nil {
		return nil, err
	}
	var now time.Time
	err = r.store.InTx(ctx, func(q *db.Queries) error {
		// Records are dated by the database's clock as well.
		if now, err = q.GetCurrentTime(ctx); err != nil {
			return fmt.Errorf("read the time: %w", err)
		}
		return audit.Record(ctx, q, organization, audit.RecordsExported, filter.Days.auditDetails(), bot)
	})
	if err != nil {
		return nil, err
	}
	since, until := filter.Days.Span()
	if after := now.Add(time.Microsecond); after.Before(until) {
		until = after
	}
	user, answer := newPattern(filter.UserMessage), newPattern(filter.BotMessage)
	return &Export{store: r.store, throttle: r.throttle, counters: r.exports, zone: filter.Days.zone, first: db.ListRecordsBeforeParams{
		SessionID:      session,
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		BeforeTime:     until, // BeforeID is the zero ID, which precedes any other
		UserLike:       user.like,
		UserIlike:      user.ilike,
		BotLike:        answer.like,
		BotIlike:       answer.ilike,
		Status:         filter.Status,
		Feedback:       filter.Feedback,
		Type:           filter.Type,
		BlockRows:      blockRows,
		BlockBytes:     blockBytes,
	}}, nil
}

// WriteLines writes a file that starts with head, followed by what appendRow appends for each
// record. The head reaches w before any record is read.
//
// After an error, including the end of ctx, w has an incomplete file, which the reader must be able
// to detect.
func (e *Export) WriteLines(ctx context.Context, w io.Writer, head []byte, appendRow func(lines []byte, record *db.Record) []byte) (err error) {
	end := e.counters.begin()
	defer func() { end(err) }()
	file := &blockBuffer{to: w}
	_, _ = file.Write(head) // a bytes.Buffer returns no error
	if err := file.flush(); err != nil {
		return err
	}
	return e.writeBlocks(ctx, file, func(record *db.Record) error {
		_, err := file.Write(appendRow(file.AvailableBuffer(), record))
		return err
	})
}

// writeBlocks calls add for each record, newest first, and flushes the file after each block. A
// block is read and encoded in one turn: add must not block, and must not keep the record. Flushing
// waits for the reader, without a turn and without a database connection.
func (e *Export) writeBlocks(ctx context.Context, file *blockBuffer, add func(*db.Record) error) error {
	for next := e.first; ; {
		last, err := e.addBlock(ctx, next, add)
		if err != nil {
			return err
		}
		if err := file.flush(); err != nil {
			return err
		}
		if last.ID == (uuid.UUID{}) {
			return nil
		}
		next.BeforeTime, next.BeforeID = last.CreatedAt, last.ID
	}
}

// addBlock calls add for each record of a block and returns the last one. Its ID is zero when the
// block is empty.
func (e *Export) addBlock(ctx context.Context, next db.ListRecordsBeforeParams, add func(*db.Record) error) (last db.Record, err error) {
	block, err := e.throttle.begin(ctx, next.OrganizationID)
	if err != nil {
		return last, err
	}
	defer block.end()
	var decoder rowDecoder
	err = e.store.ForExports().ReadRaw(ctx, func(q *db.Queries) {
		_ = q.ConfigureRecordExport(ctx)
		_, _ = q.ListRecordsBefore(ctx, next)
	}, func(query int, columns [][]byte) error {
		if query == 0 {
			return nil
		}
		block.addRecord()
		if err := decoder.decode(columns); err != nil {
			return err
		}
		return add(&decoder.record)
	})
	if err != nil {
		return last, fmt.Errorf("read a block of records: %w", err)
	}
	return decoder.record, nil
}

// blockBuffer holds the encoded part of a file that has not been written yet: one block.
type blockBuffer struct {
	bytes.Buffer
	to io.Writer
}

// flush writes the buffer in chunks.
func (b *blockBuffer) flush() error {
	for b.Len() > 0 {
		if _, err := b.to.Write(b.Next(chunkBytes)); err != nil {
			return fmt.Errorf("write the file: %w", err)
		}
	}
	b.Reset()
	return nil
}
