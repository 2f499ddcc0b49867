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

// ImportResult is what became of the rows of a file.
type ImportResult struct {
	Created int
	Updated int
	Skipped int // rows that would have changed nothing
	Errors  []ImportError
}

// ImportError is a row that was not imported; the header is row 1.
type ImportError struct {
	Row    int
	Detail string
}

// batch is how many rows one statement writes.
const batch = 1000

// Import reads entries from an .xlsx or .csv file. A question that the chatbot already has, or that an earlier row
// has, is updated. All rows are imported in one transaction, but for those that are told in Errors, and once for a key;
// two imports at once take turns. A file that cannot be read is an InvalidRequest, one that holds too much is TooLarge,
// one that comes while too many others are read is Unavailable, and nothing changes.
func (f *FAQs) Import(ctx context.Context, org uuid.UUID, botRef string, file []byte, key *store.IdempotencyKey) (ImportResult, error) {
	found, err := f.unpack(ctx, file)
	if err != nil {
		return ImportResult{}, err
	}
	given, errs := found.entries()
	done, err := store.Idempotent(ctx, f.store, key, func(q *db.Queries) (ImportResult, error) {
		owner, err := f.bots.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return ImportResult{}, err
		}
		if _, err := q.LockBot(ctx, org, owner.ID); err != nil {
			return ImportResult{}, err
		}
		plan := plan{ImportResult: ImportResult{Errors: errs}, labelled: found.labels >= 0}
		if err := plan.load(ctx, q, owner); err != nil {
			return ImportResult{}, err
		}
		for _, e := range given {
			if err := plan.add(e); err != nil {
				return ImportResult{}, err
			}
		}
		return plan.ImportResult, plan.write(ctx, q, owner)
	})
	return done, apperr.Rephrase(err, apperr.NotFound, bot.NotFoundMessage)
}

const (
	// maxReaders is how many files are read at once: each may take some hundred MiB.
	maxReaders = 2
	// unpackPatience is how long a file waits for its turn: all that wait are in memory.
	unpackPatience = 10 * time.Second
)

// unpack reads a file when it is its turn. It is Unavailable when that does not come.
func (f *FAQs) unpack(ctx context.Context, file []byte) (*table, error) {
	patience := time.NewTimer(unpackPatience)
	defer patience.Stop()
	select {
	case f.readers <- struct{}{}:
		defer func() { <-f.readers }()
		return readTable(file)
	case <-patience.C:
		return nil, &apperr.Error{Kind: apperr.Unavailable, Message: "Too many files are being read.", RetryAfter: unpackPatience}
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to read a file: %w", ctx.Err())
	}
}

// entries turns the rows into what is to be stored.
func (t *table) entries() ([]entry, []ImportError) {
	good, bad := []entry{}, []ImportError{}
	for _, r := range t.rows {
		e, problem := t.entry(r)
		if problem != "" {
			bad = append(bad, ImportError{Row: r.number, Detail: problem})
			continue
		}
		good = append(good, e)
	}
	return good, bad
}

func (t *table) entry(r row) (entry, string) {
	switch {
	case r.question == "" && r.answer == "":
		return entry{}, "The row has neither a question nor an answer."
	case r.answer == "":
		return entry{}, "The row has a question but no answer."
	case r.question == "":
		return entry{}, "The row has an answer but no question."
	}
	labels := strings.FieldsFunc(r.labels, func(r rune) bool { return strings.ContainsRune(",，、;；\n", r) })
	e, mistake := newEntry(r.question, r.answer, labels)
	if mistake != nil {
		return entry{}, mistake.sentence()
	}
	return e, ""
}

// plan is what an import will write: each entry once, as the last of its rows has it.
type plan struct {
	ImportResult
	labelled bool // the file has labels, so that those of the entries are replaced
	entries  []planned
	byText   map[string]int // question → index in entries
}

type planned struct {
	entry
	answerHash     string // as PostgreSQL has it
	isNew, changed bool
}

// load finds the entries that the chatbot has already; of several with one question the newest.
func (p *plan) load(ctx context.Context, q *db.Queries, owner db.Bot) error {
	known, err := q.ListFaqsForImport(ctx, owner.OrganizationID, owner.ID)
	if err != nil {
		return err
	}
	p.byText = make(map[string]int, len(known))
	for _, k := range known {
		if _, ok := p.byText[k.Question]; !ok {
			p.byText[k.Question] = len(p.entries)
			p.entries = append(p.entries, planned{
				entry: entry{id: k.ID, question: k.Question, labels: k.Labels}, answerHash: k.AnswerHash,
			})
		}
	}
	return nil
}

func (p *plan) add(e entry) error {
	hash := answerHash(e.answer)
	at, known := p.byText[e.question]
	if !known {
		var err error
		if e.id, err = uuid.NewV7(); err != nil {
			return err
		}
		p.byText[e.question] = len(p.entries)
		p.entries = append(p.entries, planned{entry: e, answerHash: hash, isNew: true})
		p.Created++
		return nil
	}
	old := &p.entries[at]
	if !p.labelled {
		e.labels = old.labels
	}
	if hash == old.answerHash && slices.Equal(e.labels, old.labels) {
		p.Skipped++
		return nil
	}
	old.answer, old.answerHash, old.labels, old.changed = e.answer, hash, e.labels, true
	p.Updated++
	return nil
}

// answerHash saves reading all answers in order to see which of them change; it guards nothing.
func answerHash(answer string) string {
	sum := md5.Sum([]byte(answer))
	return hex.EncodeToString(sum[:])
}

func (p *plan) write(ctx context.Context, q *db.Queries, owner db.Bot) error {
	var fresh, changed []entry
	for _, e := range p.entries {
		if e.isNew {
			fresh = append(fresh, e.entry)
		} else if e.changed {
			changed = append(changed, e.entry)
		}
	}
	for some := range slices.Chunk(fresh, batch) {
		if err := insertEntries(ctx, q, owner, some); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(changed, batch) {
		if err := updateEntries(ctx, q, owner, some); err != nil {
			return err
		}
	}
	return nil
}
