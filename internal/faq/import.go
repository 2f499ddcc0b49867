package faq

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/store"
)

// ImportResult is the number of rows by what the import did with them.
type ImportResult struct {
	Created int
	Updated int
	Skipped int // rows without a change
	Errors  []ImportError
}

// ImportError is a row that was not imported. Rows are counted from the header, which is row 1.
type ImportError struct {
	Row    int
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
	entries, errs := table.entries()
	result, err := store.Idempotent(ctx, f.store, key, func(q *db.Queries) (ImportResult, error) {
		owner, err := f.bots.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return ImportResult{}, err
		}
		if _, err := q.LockBot(ctx, org, owner.ID); err != nil {
			return ImportResult{}, err
		}
		plan := importPlan{result: ImportResult{Errors: errs}, setsLabels: table.labels >= 0}
		if err := plan.load(ctx, q, owner); err != nil {
			return ImportResult{}, err
		}
		for _, e := range entries {
			if err := plan.add(e); err != nil {
				return ImportResult{}, err
			}
		}
		return plan.result, plan.write(ctx, q, owner)
	})
	return result, apperr.Rephrase(err, apperr.NotFound, bot.NotFoundMessage)
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

// entries returns the valid rows, and the errors of the others.
func (t *table) entries() ([]entry, []ImportError) {
	entries, errs := []entry{}, []ImportError{}
	for _, r := range t.rows {
		e, problem := r.entry()
		if problem != "" {
			errs = append(errs, ImportError{Row: r.number, Detail: problem})
			continue
		}
		entries = append(entries, e)
	}
	return entries, errs
}

// entry returns the row's entry, or a sentence about what is wrong with the row.
func (r row) entry() (e entry, problem string) {
	switch {
	case r.question == "" && r.answer == "":
		return entry{}, "The row has neither a question nor an answer."
	case r.answer == "":
		return entry{}, "The row has a question but no answer."
	case r.question == "":
		return entry{}, "The row has an answer but no question."
	}
	labels := strings.FieldsFunc(r.labels, func(r rune) bool { return strings.ContainsRune(",，、;；\n", r) })
	e, invalid := newEntry(r.question, r.answer, labels)
	if invalid != nil {
		return entry{}, invalid.asSentence()
	}
	return e, ""
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
