package records_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/xuri/excelize/v2"

	"parley/gen/db"
	"parley/internal/dbtest"
	"parley/internal/records"
	"parley/internal/store"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// world is an organization with a chatbot and a conversation in a database of its
// own. Records are written as FinishRun leaves them, at times of the test's choice.
type world struct {
	t            testing.TB
	store        *store.Store
	sql          *pgxpool.Pool
	records      *records.Records
	organization uuid.UUID
	bot          uuid.UUID
	session      uuid.UUID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldIn(t, dbtest.URL(t))
}

func worldIn(t testing.TB, url string) *world {
	t.Helper()
	opened, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	sql, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sql.Close)
	w := &world{t: t, store: opened, sql: sql, records: records.New(opened)}
	w.organization = id()
	w.exec("INSERT INTO organizations (id, name) VALUES ($1, $2)", w.organization, "Acme "+w.organization.String())
	w.bot = w.newBot()
	w.session = w.newSession(w.bot, time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC))
	return w
}

func (w *world) newBot() uuid.UUID {
	w.t.Helper()
	bot := id()
	w.exec("INSERT INTO bots (organization_id, id, slug, name, engine) VALUES ($1, $2, $3, 'Parley', 'faq')", w.organization, bot, "bot-"+bot.String())
	return bot
}

// newSession makes a conversation that began at a time.
func (w *world) newSession(bot uuid.UUID, at time.Time) uuid.UUID {
	w.t.Helper()
	user, inbox, contact, session := id(), id(), id(), id()
	w.exec("INSERT INTO users (organization_id, id, name) VALUES ($1, $2, $3)", w.organization, user, user.String())
	w.exec("INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type) VALUES ($1, $2, $3, 'Web', 'web')", w.organization, inbox, bot)
	w.exec("INSERT INTO contacts (organization_id, id, name) VALUES ($1, $2, 'Alex')", w.organization, contact)
	w.exec(`INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, created_at)
	        VALUES ($1, $2, $3, $4, $5, $6, $7)`, w.organization, session, user, bot, inbox, contact, at)
	return session
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	if _, err := w.sql.Exec(w.t.Context(), statement, args...); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

// add stores records of the world's conversation; what a record must have and does
// not say is filled in.
func (w *world) add(all ...db.Record) []db.Record {
	w.t.Helper()
	for i := range all {
		one := &all[i]
		one.OrganizationID = w.organization
		if one.ID == (uuid.UUID{}) {
			one.ID = id()
		}
		if one.BotID == (uuid.UUID{}) {
			one.BotID = w.bot
		}
		if one.SessionID == (uuid.UUID{}) {
			one.SessionID = w.session
		}
		if one.Status == "" {
			one.Status, one.Type = "completed", "New"
		}
		one.AskedAt = one.CreatedAt.Add(-time.Second)
	}
	_, err := w.sql.CopyFrom(w.t.Context(), pgx.Identifier{"records"}, []string{
		"organization_id", "id", "bot_id", "session_id", "status", "type", "input_message", "condense_message", "output_message", "context",
		"faithfulness_score", "answer_relevancy_score", "context_precision_score", "answer_correctness_score", "answer_similarity_score", "context_recall_score",
		"reply_time", "first_token_time", "prompt_tokens", "completion_tokens", "feedback", "error", "asked_at", "created_at",
	}, pgx.CopyFromSlice(len(all), func(i int) ([]any, error) {
		r := all[i]
		return []any{
			r.OrganizationID, r.ID, r.BotID, r.SessionID, r.Status, r.Type, r.InputMessage, r.CondenseMessage, r.OutputMessage, r.Context,
			r.FaithfulnessScore, r.AnswerRelevancyScore, r.ContextPrecisionScore, r.AnswerCorrectnessScore, r.AnswerSimilarityScore, r.ContextRecallScore,
			r.ReplyTime, r.FirstTokenTime, r.PromptTokens, r.CompletionTokens, r.Feedback, r.Error, r.AskedAt, r.CreatedAt,
		}, nil
	}))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// list returns a page, which must be there.
func (w *world) list(filter records.Filter, page, size int) ([]db.Record, int64) {
	w.t.Helper()
	found, total, err := w.records.List(w.t.Context(), w.organization, w.bot, filter, page, size)
	if err != nil {
		w.t.Fatal(err)
	}
	return found, total
}

// export writes the file and opens it.
func (w *world) export(filter records.Filter, locale records.Locale) book {
	w.t.Helper()
	return openBook(w.t, w.exportFile(filter, locale))
}

func (w *world) exportFile(filter records.Filter, locale records.Locale) []byte {
	w.t.Helper()
	export, err := w.records.Export(w.t.Context(), w.organization, w.bot, filter)
	if err != nil {
		w.t.Fatal(err)
	}
	var file bytes.Buffer
	if err := export.WriteExcel(w.t.Context(), &file, locale); err != nil {
		w.t.Fatal(err)
	}
	return file.Bytes()
}

func (w *world) exportCSV(filter records.Filter, locale records.Locale) []byte {
	w.t.Helper()
	export, err := w.records.Export(w.t.Context(), w.organization, w.bot, filter)
	if err != nil {
		w.t.Fatal(err)
	}
	var file bytes.Buffer
	if err := export.WriteCSV(w.t.Context(), &file, locale); err != nil {
		w.t.Fatal(err)
	}
	return file.Bytes()
}

func id() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func days(t testing.TB, start, end, zone string) records.Days {
	t.Helper()
	parsed, err := records.ParseDays(start, end, zone)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// book is an exported file.
type book struct {
	t testing.TB
	*excelize.File
}

func openBook(t testing.TB, file []byte) book {
	t.Helper()
	opened, err := excelize.OpenReader(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("the file does not open: %v", err)
	}
	t.Cleanup(func() { opened.Close() })
	return book{t, opened}
}

// rows are a sheet's rows with the cells' raw values, the header first; none where
// there is no such sheet.
func (b book) rows(sheet string) [][]string {
	b.t.Helper()
	if i, _ := b.GetSheetIndex(sheet); i < 0 {
		return nil
	}
	rows, err := b.GetRows(sheet, excelize.Options{RawCellValue: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}

// column is one column of the rows below the header.
func column(rows [][]string, number int) []string {
	var cells []string
	for _, row := range rows[1:] {
		cells = append(cells, cell(row, number))
	}
	return cells
}

// cell is empty where the row ends before it.
func cell(row []string, number int) string {
	if number >= len(row) {
		return ""
	}
	return row[number]
}

// at reads a cell's date as the clock in a zone shows it.
func at(t testing.TB, serial string) time.Time {
	t.Helper()
	number, err := strconv.ParseFloat(serial, 64)
	if err != nil {
		t.Fatalf("%q is no date: %v", serial, err)
	}
	shown, err := excelize.ExcelDateToTime(number, false)
	if err != nil {
		t.Fatal(err)
	}
	return shown
}
