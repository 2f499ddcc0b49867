package faq

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/store"
)

// ImportResult is the number of rows by what the import did with them, and how the file was read.
type ImportResult struct {
	Created        int
	Updated        int
	Skipped        int // rows without a change
	Errors         []ImportError
	Sheet          string   // the worksheet's name
	Encoding       string   // of a text
	IgnoredColumns []string // names, or letters of columns without a name
}

// ImportError describes a row, a cell or a worksheet that was not imported, or not completely.
type ImportError struct {
	Row    int    // as spreadsheet programs count rows
	Column string // the column's letters, if one column is the reason
	Sheet  string // the worksheet's name
	Detail string
}

// batchSize is the number of rows that one statement writes.
const batchSize = 1000

// Import imports FAQs from an .xlsx or .csv file into a chatbot, in one transaction and once per
// idempotency key. A row whose question the chatbot or an earlier row already has updates that FAQ.
// Rows with errors are reported and skipped. Concurrent imports into a chatbot run one after the
// other.
//
// Nothing changes if the file cannot be read: it returns an InvalidRequest for malformed files,
// TooLarge for files that hold too much, and Unavailable while too many other files are being read.
func (f *FAQs) Import(ctx context.Context, org uuid.UUID, botRef string, file []byte, key *store.IdempotencyKey) (ImportResult, error) {
	table, err := f.readTable(ctx, file)
	if err != nil {
		return ImportResult{}, err
	}
	result, err := store.Idempotent(ctx, f.store, key, func(q *db.Queries) (ImportResult, error) {
		owner, err := f.bots.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return ImportResult{}, err
		}
		if _, err := q.LockBot(ctx, org, owner.ID); err != nil {
			return ImportResult{}, err
		}
		plan, err := planImport(ctx, q, owner, table)
		if err != nil {
			return ImportResult{}, err
		}
		return plan.result, plan.write(ctx, q, owner)
	})
	return result, apperr.Rephrase(err, apperr.NotFound, bot.NotFoundMessage)
}

// TryImport returns the result that Import would return, without storing anything.
func (f *FAQs) TryImport(ctx context.Context, org uuid.UUID, botRef string, file []byte) (ImportResult, error) {
	table, err := f.readTable(ctx, file)
	if err != nil {
		return ImportResult{}, err
	}
	var plan *importPlan
	err = f.store.InTx(ctx, func(q *db.Queries) error {
		owner, err := f.bots.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return err
		}
		plan, err = planImport(ctx, q, owner, table)
		return err
	})
	if err != nil {
		return ImportResult{}, apperr.Rephrase(err, apperr.NotFound, bot.NotFoundMessage)
	}
	return plan.result, nil
}

// planImport compares the table with the FAQs that the chatbot has.
func planImport(ctx context.Context, q *db.Queries, owner db.Bot, t *table) (*importPlan, error) {
	entries, errs := t.entries()
	plan := &importPlan{
		result:     ImportResult{Errors: errs, Sheet: t.sheet, Encoding: t.encoding, IgnoredColumns: t.ignored},
		setsLabels: t.labels >= 0,
	}
	if err := plan.load(ctx, q, owner); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := plan.add(e); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

const (
	// maxReaders is the number of files that are read at once. Each may need some hundred MiB.
	maxReaders = 2
	// readerTimeout is how long a file waits to be read. Waiting files are in memory.
	readerTimeout = 10 * time.Second
)

// readTable reads a file once one of the readers is free.
func (f *FAQs) readTable(ctx context.Context, file []byte) (*table, error) {
	timer := time.NewTimer(readerTimeout)
	defer timer.Stop()
	select {
	case f.readers <- struct{}{}:
		defer func() { <-f.readers }()
		return readTable(file)
	case <-timer.C:
		return nil, &apperr.Error{Kind: apperr.Unavailable, Message: "Too many files are being read. Retry later.", RetryAfter: readerTimeout}
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to read a file: %w", ctx.Err())
	}
}

// importPlan collects what an import will write. Of several rows with one question the last one
// counts.
type importPlan struct {
	result     ImportResult
	setsLabels bool // the file has a column for labels
	entries    []plannedEntry
	byQuestion map[string]int // the index in entries
}

type plannedEntry struct {
	entry
	answerHash       string // as computed by PostgreSQL
	isNew, isChanged bool
}

// load reads the FAQs that the chatbot has. Of several with one question, the newest will be
// updated.
func (p *importPlan) load(ctx context.Context, q *db.Queries, owner db.Bot) error {
	rows, err := q.ListFaqsForImport(ctx, owner.OrganizationID, owner.ID)
	if err != nil {
		return err
	}
	p.byQuestion = make(map[string]int, len(rows))
	for _, row := range rows {
		if _, ok := p.byQuestion[row.Question]; !ok {
			p.byQuestion[row.Question] = len(p.entries)
			p.entries = append(p.entries, plannedEntry{
				entry: entry{id: row.ID, question: row.Question, labels: row.Labels}, answerHash: row.AnswerHash,
			})
		}
	}
	return nil
}

func (p *importPlan) add(e entry) error {
	hash := hashAnswer(e.answer)
	i, ok := p.byQuestion[e.question]
	if !ok {
		var err error
		if e.id, err = uuid.NewV7(); err != nil {
			return err
		}
		p.byQuestion[e.question] = len(p.entries)
		p.entries = append(p.entries, plannedEntry{entry: e, answerHash: hash, isNew: true})
		p.result.Created++
		return nil
	}
	planned := &p.entries[i]
	if !p.setsLabels {
		e.labels = planned.labels
	}
	if hash == planned.answerHash && slices.Equal(e.labels, planned.labels) {
		p.result.Skipped++
		return nil
	}
	planned.answer, planned.answerHash, planned.labels, planned.isChanged = e.answer, hash, e.labels, true
	p.result.Updated++
	return nil
}

// hashAnswer returns the hash by which changed answers are recognized without reading all of them.
// It is not used for security.
func hashAnswer(answer string) string {
	sum := md5.Sum([]byte(answer))
	return hex.EncodeToString(sum[:])
}

func (p *importPlan) write(ctx context.Context, q *db.Queries, owner db.Bot) error {
	var created, changed []entry
	for _, planned := range p.entries {
		if planned.isNew {
			created = append(created, planned.entry)
		} else if planned.isChanged {
			changed = append(changed, planned.entry)
		}
	}
	for batch := range slices.Chunk(created, batchSize) {
		if err := insertEntries(ctx, q, owner, batch); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(changed, batchSize) {
		if err := updateEntries(ctx, q, owner, batch); err != nil {
			return err
		}
	}
	return nil
}
