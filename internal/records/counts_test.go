package records_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/records"
)

func (w *world) seal() {
	w.t.Helper()
	if err := w.records.Seal(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// rows counts what a table has.
func (w *world) rows(table string) (count int) {
	w.t.Helper()
	if err := w.sql.QueryRow(w.t.Context(), "SELECT count(*) FROM "+table).Scan(&count); err != nil {
		w.t.Fatal(err)
	}
	return count
}

// hourly stores records, one every so often from a time on.
func (w *world) hourly(session uuid.UUID, from time.Time, every time.Duration, count int) []db.Record {
	w.t.Helper()
	all := make([]db.Record, count)
	for i := range all {
		all[i] = db.Record{SessionID: session, CreatedAt: from.Add(time.Duration(i) * every)}
	}
	return w.add(all...)
}

// Hours that are over are counted once, others never; deletions are taken in whether
// they were counted before or not.
func TestHoursAreCountedOnceTheyAreOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, recent := w.newSession(w.bot, noon), w.newSession(w.bot, noon)
	w.hourly(old, noon, 20*time.Minute, 300)
	w.hourly(w.session, noon.AddDate(0, 3, 0), 20*time.Minute, 30)
	w.hourly(recent, time.Now().Add(-time.Second), time.Millisecond, 10)
	always := records.Filter{Days: days(t, "2024-01-01", "9999-12-31", "Asia/Kathmandu")}
	expect := func(total int64, hours, deletions int) {
		t.Helper()
		if _, got := w.list(always, 1, 1); got != total {
			t.Errorf("the total is %d, want %d", got, total)
		}
		if counted, noted := w.rows("record_counts"), w.rows("record_deletions"); counted != hours || noted != deletions {
			t.Errorf("%d hours and %d deletions are noted, want %d and %d", counted, noted, hours, deletions)
		}
	}
	expect(340, 0, 0)
	// deleted before anything is counted: one of hour 0
	w.exec("DELETE FROM records WHERE created_at = $1", noon)
	expect(339, 0, 1)
	w.seal()
	expect(339, 110, 0)
	w.seal()
	expect(339, 110, 0)
	// deleted after it was counted
	w.exec("DELETE FROM records WHERE session_id = $1 AND created_at < $2", old, noon.Add(2*time.Hour))
	expect(334, 110, 2)
	// a conversation takes its records along, those too that are not counted
	w.exec("DELETE FROM sessions WHERE id IN ($1, $2)", old, recent)
	if _, total := w.list(always, 1, 1); total != 30 {
		t.Errorf("the total is %d, want 30", total)
	}
	w.seal()
	w.hourly(w.session, time.Now(), time.Millisecond, 1)
	if _, total := w.list(always, 1, 1); total != 31 {
		t.Errorf("the total is %d, want 31", total)
	}
	// what was deleted of the hour that is not over waits for its end
	if noted := w.rows("record_deletions"); noted > 2 {
		t.Errorf("%d deletions are left", noted)
	}
	w.exec("DELETE FROM bots")
	w.seal()
	if counted, noted := w.rows("record_counts"), w.rows("record_deletions"); counted != 0 || noted != 0 {
		t.Errorf("%d hours and %d deletions of no chatbot are left", counted, noted)
	}
}

// An hour is not over while a transaction writes that began in it.
func TestAnHourIsNotOverWhileSomebodyWritesSinceBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	oldest := func() (began *time.Time) {
		t.Helper()
		if err := w.sql.QueryRow(t.Context(), "SELECT oldest_writer()").Scan(&began); err != nil {
			t.Fatal(err)
		}
		return began
	}
	writer, err := w.sql.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Rollback(context.WithoutCancel(t.Context()))
	var began time.Time
	if err := writer.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
		t.Fatal(err)
	}
	if got := oldest(); got != nil {
		t.Errorf("who only reads is a writer since %v", got)
	}
	if _, err := writer.Exec(t.Context(), "UPDATE bots SET name = 'x'"); err != nil {
		t.Fatal(err)
	}
	if got := oldest(); got == nil || !got.Equal(began) {
		t.Errorf("the oldest writer is of %v, want %v", got, began)
	}
	if err := writer.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := oldest(); got != nil {
		t.Errorf("there is still a writer since %v", got)
	}
}

// expectPage compares a page of records and their total with naive queries over the records.
func (w *world) expectPage(filter records.Filter, page, size int) {
	w.t.Helper()
	since, until := filter.Days.Span()
	var total int64
	err := w.sql.QueryRow(w.t.Context(), "SELECT count(*) FROM records WHERE bot_id = $1 AND created_at >= $2 AND created_at < $3", w.bot, since, until).Scan(&total)
	if err != nil {
		w.t.Fatal(err)
	}
	rows, err := w.sql.Query(w.t.Context(), `SELECT id FROM records WHERE bot_id = $1 AND created_at >= $2 AND created_at < $3
		ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5`, w.bot, since, until, size, (page-1)*size)
	if err != nil {
		w.t.Fatal(err)
	}
	want, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		w.t.Fatal(err)
	}
	got, gotTotal, err := w.records.List(w.t.Context(), w.organization, w.bot, filter, page, size)
	if page > 1 && len(want) == 0 {
		if !apperr.Is(err, apperr.NotFound) {
			w.t.Errorf("page %d of %d, beyond the last: %d records, %v; want not found", page, size, len(got), err)
		}
		return
	}
	if err != nil || gotTotal != total || !slices.Equal(ids(got), want) {
		w.t.Errorf("page %d of %d from %s to %s: %d records of %d (%v), want %d of %d", page, size,
			filter.Days.StartDate(), filter.Days.EndDate(), len(got), gotTotal, err, len(want), total)
	}
}

func TestCountedPagesEqualNaiveQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w.hourly(w.session, noon, 7*time.Minute, 1_000)
	w.seal()
	w.exec("DELETE FROM records WHERE extract(minute FROM created_at) BETWEEN 10 AND 20")
	w.hourly(w.session, time.Now(), time.Millisecond, 5)
	for _, zone := range []string{"UTC", "Asia/Kathmandu"} {
		for range 60 {
			from := noon.AddDate(0, 0, random.IntN(6)-1)
			filter := records.Filter{Days: days(t, from.Format(time.DateOnly), from.AddDate(0, 0, random.IntN(6)).Format(time.DateOnly), zone)}
			if random.IntN(5) == 0 {
				filter.Days = days(t, "2025-01-01", "2125-01-01", zone)
			}
			size := 1 + random.IntN(100)
			w.expectPage(filter, 1+random.IntN(1+1_000/size), size)
		}
	}
}

// Every offset within a day of counted hours is checked, because a deep page starts at the counted
// hour that contains its offset.
func TestDeepPagesEqualNaiveQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hourly(w.session, noon.Truncate(24*time.Hour), 36*time.Second, 2_400)
	w.seal()
	filter := records.Filter{Days: days(t, "2025-01-15", "2025-01-15", "UTC")}
	for page := range 120 {
		w.expectPage(filter, 1+page, 20)
	}
}

// INVARIANT: in every snapshot the total by the counts is the number of records, while
// several processes count, and others insert and delete.
func TestTheTotalIsExactWhileAllIsGoingOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// given conversations with records of many months, and a second chatbot beside
	bots := []uuid.UUID{w.bot, w.newBot()}
	var sessions []uuid.UUID
	for n := range 60 {
		session := w.newSession(bots[n%2], noon)
		sessions = append(sessions, session)
		var all []db.Record
		for i := range 40 {
			all = append(all, db.Record{BotID: bots[n%2], SessionID: session, CreatedAt: noon.Add(time.Duration(n*17+i*613) * time.Hour)})
		}
		w.add(all...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var deleting, others sync.WaitGroup
	failed := make(chan error, 100)
	run := func(group *sync.WaitGroup, what string, one func(n int) error, until context.Context, times int) {
		group.Go(func() {
			for n := 0; n < times && until.Err() == nil; n++ {
				if err := one(n); err != nil && until.Err() == nil {
					failed <- fmt.Errorf("%s: %w", what, err)
					return
				}
			}
		})
	}
	// when some count, some insert, some look, and some delete conversations until none
	// is left, several in one transaction and in any order
	for range 2 {
		run(&others, "seal", func(int) error { return w.records.Seal(t.Context()) }, ctx, 1e9)
	}
	run(&others, "insert", func(int) error {
		_, err := w.sql.Exec(t.Context(), `INSERT INTO records (organization_id, id, bot_id, session_id, status, type, input_message, output_message, asked_at, created_at)
			VALUES ($1, $2, $3, $4, 'completed', 'New', '', '', clock_timestamp(), clock_timestamp())`, w.organization, id(), w.bot, w.session)
		return err
	}, ctx, 1e9)
	run(&others, "look", func(n int) error { return w.compare(bots[n%2]) }, ctx, 1e9)
	for part := range 3 {
		mine := sessions[part*20 : part*20+20]
		run(&deleting, "delete", func(n int) error {
			err := pgx.BeginFunc(t.Context(), w.sql, func(tx pgx.Tx) error {
				for _, session := range mine[2*n : 2*n+2] {
					if _, err := tx.Exec(t.Context(), "DELETE FROM sessions WHERE id = $1", session); err != nil {
						return err
					}
				}
				if n%4 == 3 {
					return errUndone
				}
				return nil
			})
			if errors.Is(err, errUndone) {
				return nil
			}
			return err
		}, ctx, 10)
	}
	deleting.Wait()
	cancel()
	others.Wait()
	close(failed)
	// then
	for err := range failed {
		t.Error(err)
	}
	w.seal()
	for _, bot := range bots {
		if err := w.compare(bot); err != nil {
			t.Error(err)
		}
	}
	if w.rows("record_counts") == 0 {
		t.Error("nothing was counted")
	}
}

// errUndone has a deletion rolled back.
var errUndone = errors.New("undone")

// compare holds the total by the counts against the records themselves, in one snapshot.
func (w *world) compare(bot uuid.UUID) error {
	return pgx.BeginTxFunc(w.t.Context(), w.sql, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		since, until := time.Date(2020, 1, 1, 0, 30, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 30, 0, 0, time.UTC)
		q := db.New(tx)
		got, err := q.SumRecordCounts(w.t.Context(), db.SumRecordCountsParams{
			OrganizationID: w.organization, BotID: bot, Since: since, Until: until, FirstHour: since.Add(30 * time.Minute), LastHour: until.Add(-30 * time.Minute),
		})
		if err != nil {
			return err
		}
		want, err := q.CountRecords(w.t.Context(), db.CountRecordsParams{OrganizationID: w.organization, BotID: bot, Since: since, Until: until})
		if err == nil && got.Total != want {
			err = fmt.Errorf("the total is %d, want %d", got.Total, want)
		}
		return err
	})
}

// Counting waits for nobody, so that nobody can wait for it in a circle: a chatbot of
// which records are being deleted, or which is itself, is left to the next time.
func TestCountingWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hourly(w.session, noon, time.Minute, 10)
	for _, statement := range []string{"DELETE FROM records", "DELETE FROM bots", "UPDATE bots SET name = 'x'"} {
		other, err := w.sql.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		w.seal()
		if got, isCounted := w.rows("record_counts"), statement[0] == 'U'; (got > 0) != isCounted {
			t.Errorf("during %s %d hours were counted", statement, got)
		}
		if err := other.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Start counts at once, and its end is awaited.
func TestCountingGoesOnByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hourly(w.session, noon, time.Minute, 10)
	stop := w.records.Start(slog.New(slog.DiscardHandler))
	w.eventually("the records are counted", func() bool { return w.rows("record_counts") == 1 })
	stop()
}
