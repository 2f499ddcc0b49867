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

// fixture is an organization with a chatbot and a conversation in its own database. Its records are inserted
// directly, as FinishRun stores them.
type fixture struct {
	t            testing.TB
	store        *store.Store
	sql          *pgxpool.Pool
	records      *records.Records
	organization uuid.UUID
	bot          uuid.UUID
	session      uuid.UUID
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureIn(t, dbtest.URL(t))
}

func newFixtureIn(t testing.TB, url string) *fixture {
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
	f := &fixture{t: t, store: opened, sql: sql, records: records.New(opened)}
	f.organization = id()
	f.exec("INSERT INTO organizations (id, name) VALUES ($1, $2)", f.organization, "Acme "+f.organization.String())
	f.bot = f.newBot()
	f.session = f.newSession(f.bot, time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC))
	return f
}

func (f *fixture) newBot() uuid.UUID {
	f.t.Helper()
	bot := id()
	f.exec("INSERT INTO bots (organization_id, id, slug, name, engine) VALUES ($1, $2, $3, 'Parley', 'faq')", f.organization, bot, "bot-"+bot.String())
	return bot
}

// newSession creates a conversation that started at the given time.
func (f *fixture) newSession(bot uuid.UUID, at time.Time) uuid.UUID {
	f.t.Helper()
	user, inbox, contact, session := id(), id(), id(), id()
	f.exec("INSERT INTO users (organization_id, id, name) VALUES ($1, $2, $3)", f.organization, user, user.String())
	f.exec("INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type) VALUES ($1, $2, $3, 'Web', 'web')", f.organization, inbox, bot)
	f.exec("INSERT INTO contacts (organization_id, id, name) VALUES ($1, $2, 'Alex')", f.organization, contact)
	f.exec(`INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, created_at)
	        VALUES ($1, $2, $3, $4, $5, $6, $7)`, f.organization, session, user, bot, inbox, contact, at)
	return session
}

func (f *fixture) exec(statement string, args ...any) {
	f.t.Helper()
	if _, err := f.sql.Exec(f.t.Context(), statement, args...); err != nil {
		f.t.Fatalf("%s: %v", statement, err)
	}
}

// add stores records, by default of the fixture's conversation, and sets missing required fields.
func (f *fixture) add(all ...db.Record) []db.Record {
	f.t.Helper()
	for i := range all {
		record := &all[i]
		record.OrganizationID = f.organization
		if record.ID == (uuid.UUID{}) {
			record.ID = id()
		}
		if record.BotID == (uuid.UUID{}) {
			record.BotID = f.bot
		}
		if record.SessionID == (uuid.UUID{}) {
			record.SessionID = f.session
		}
		if record.Status == "" {
			record.Status, record.Type = "completed", "New"
		}
		record.AskedAt = record.CreatedAt.Add(-time.Second)
	}
	_, err := f.sql.CopyFrom(f.t.Context(), pgx.Identifier{"records"}, []string{
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
		f.t.Fatal(err)
	}
	return all
}

// list returns a page that must exist.
func (f *fixture) list(filter records.Filter, page, size int) ([]db.Record, int64) {
	f.t.Helper()
	found, total, err := f.records.List(f.t.Context(), f.organization, f.bot, filter, page, size)
	if err != nil {
		f.t.Fatal(err)
	}
	return found, total
}

// export writes an Excel file and opens it.
func (f *fixture) export(filter records.Filter, locale records.Locale) book {
	f.t.Helper()
	return openBook(f.t, f.exportFile(filter, locale))
}

func (f *fixture) exportFile(filter records.Filter, locale records.Locale) []byte {
	f.t.Helper()
	export, err := f.records.Export(f.t.Context(), f.organization, f.bot, filter)
	if err != nil {
		f.t.Fatal(err)
	}
	var file bytes.Buffer
	if err := export.WriteExcel(f.t.Context(), &file, locale); err != nil {
		f.t.Fatal(err)
	}
	return file.Bytes()
}

func (f *fixture) exportCSV(filter records.Filter, locale records.Locale) []byte {
	f.t.Helper()
	export, err := f.records.Export(f.t.Context(), f.organization, f.bot, filter)
	if err != nil {
		f.t.Fatal(err)
	}
	var file bytes.Buffer
	if err := export.WriteCSV(f.t.Context(), &file, locale); err != nil {
		f.t.Fatal(err)
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

// book is an open Excel file.
type book struct {
	t testing.TB
	*excelize.File
}

func openBook(t testing.TB, file []byte) book {
	t.Helper()
	opened, err := excelize.OpenReader(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("open the file: %v", err)
	}
	t.Cleanup(func() { opened.Close() })
	return book{t, opened}
}

// rows returns a sheet's raw values by row, with the header first, or nil if the sheet does not exist.
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

// column returns a column without its header.
func column(rows [][]string, number int) []string {
	var cells []string
	for _, row := range rows[1:] {
		cells = append(cells, cell(row, number))
	}
	return cells
}

// cell returns a cell, which is empty beyond the end of the row.
func cell(row []string, number int) string {
	if number >= len(row) {
		return ""
	}
	return row[number]
}

// at converts a serial date to the wall-clock time that it shows.
func at(t testing.TB, serial string) time.Time {
	t.Helper()
	number, err := strconv.ParseFloat(serial, 64)
	if err != nil {
		t.Fatalf("%q is not a date: %v", serial, err)
	}
	shown, err := excelize.ExcelDateToTime(number, false)
	if err != nil {
		t.Fatal(err)
	}
	return shown
}
