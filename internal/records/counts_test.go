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

// updateCounts counts the records of past hours.
func (f *fixture) updateCounts() {
	f.t.Helper()
	if err := f.records.UpdateCounts(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// rows returns the number of rows of a table.
func (f *fixture) rows(table string) (count int) {
	f.t.Helper()
	if err := f.sql.QueryRow(f.t.Context(), "SELECT count(*) FROM "+table).Scan(&count); err != nil {
		f.t.Fatal(err)
	}
	return count
}

// addEvery stores records at a fixed interval.
func (f *fixture) addEvery(session uuid.UUID, from time.Time, every time.Duration, count int) []db.Record {
	f.t.Helper()
	all := make([]db.Record, count)
	for i := range all {
		all[i] = db.Record{SessionID: session, CreatedAt: from.Add(time.Duration(i) * every)}
	}
	return f.add(all...)
}

// Past hours are counted once. Deletions are subtracted, whether or not their hour has been counted.
func TestUpdateCountsCountsPastHoursAndDeletions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old, recent := f.newSession(f.bot, noon), f.newSession(f.bot, noon)
	f.addEvery(old, noon, 20*time.Minute, 300)
	f.addEvery(f.session, noon.AddDate(0, 3, 0), 20*time.Minute, 30)
	f.addEvery(recent, time.Now().Add(-time.Second), time.Millisecond, 10)
	always := records.Filter{Days: days(t, "2024-01-01", "9999-12-31", "Asia/Kathmandu")}
	expect := func(total int64, hours, deletions int) {
		t.Helper()
		if _, got := f.list(always, 1, 1); got != total {
			t.Errorf("the total is %d, want %d", got, total)
		}
		if counted, noted := f.rows("record_counts"), f.rows("record_deletions"); counted != hours || noted != deletions {
			t.Errorf("%d hours and %d deletions are stored, want %d and %d", counted, noted, hours, deletions)
		}
	}
	expect(340, 0, 0)
	// a deletion before the hour is counted
	f.exec("DELETE FROM records WHERE created_at = $1", noon)
	expect(339, 0, 1)
	f.updateCounts()
	expect(339, 110, 0)
	f.updateCounts()
	expect(339, 110, 0)
	// deletions after their hours were counted
	f.exec("DELETE FROM records WHERE session_id = $1 AND created_at < $2", old, noon.Add(2*time.Hour))
	expect(334, 110, 2)
	// deleting a conversation deletes its records, counted or not
	f.exec("DELETE FROM sessions WHERE id IN ($1, $2)", old, recent)
	if _, total := f.list(always, 1, 1); total != 30 {
		t.Errorf("the total is %d, want 30", total)
	}
	f.updateCounts()
	f.addEvery(f.session, time.Now(), time.Millisecond, 1)
	if _, total := f.list(always, 1, 1); total != 31 {
		t.Errorf("the total is %d, want 31", total)
	}
	// deletions of the current hour remain until it has ended
	if noted := f.rows("record_deletions"); noted > 2 {
		t.Errorf("%d deletions remain, want at most 2", noted)
	}
	f.exec("DELETE FROM bots")
	f.updateCounts()
	if counted, noted := f.rows("record_counts"), f.rows("record_deletions"); counted != 0 || noted != 0 {
		t.Errorf("%d hours and %d deletions of a deleted chatbot remain", counted, noted)
	}
}

// An hour is not counted while a writing transaction that started in it is open.
func TestOldestWriterIsTheOldestWritingTransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	oldest := func() (began *time.Time) {
		t.Helper()
		if err := f.sql.QueryRow(t.Context(), "SELECT oldest_writer()").Scan(&began); err != nil {
			t.Fatal(err)
		}
		return began
	}
	writer, err := f.sql.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Rollback(context.WithoutCancel(t.Context()))
	var began time.Time
	if err := writer.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
		t.Fatal(err)
	}
	if got := oldest(); got != nil {
		t.Errorf("a read-only transaction is a writer since %v", got)
	}
	if _, err := writer.Exec(t.Context(), "UPDATE bots SET name = 'x'"); err != nil {
		t.Fatal(err)
	}
	if got := oldest(); got == nil || !got.Equal(began) {
		t.Errorf("the oldest writer is since %v, want %v", got, began)
	}
	if err := writer.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := oldest(); got != nil {
		t.Errorf("after the commit there is a writer since %v", got)
	}
}

// expectPage compares a page of records and their total with naive queries over the records.
func (f *fixture) expectPage(filter records.Filter, page, size int) {
	f.t.Helper()
	since, until := filter.Days.Span()
	var total int64
	err := f.sql.QueryRow(f.t.Context(), "SELECT count(*) FROM records WHERE bot_id = $1 AND created_at >= $2 AND created_at < $3", f.bot, since, until).Scan(&total)
	if err != nil {
		f.t.Fatal(err)
	}
	rows, err := f.sql.Query(f.t.Context(), `SELECT id FROM records WHERE bot_id = $1 AND created_at >= $2 AND created_at < $3
		ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5`, f.bot, since, until, size, (page-1)*size)
	if err != nil {
		f.t.Fatal(err)
	}
	want, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		f.t.Fatal(err)
	}
	got, gotTotal, err := f.records.List(f.t.Context(), f.organization, f.bot, filter, page, size)
	if page > 1 && len(want) == 0 {
		if !apperr.Is(err, apperr.NotFound) {
			f.t.Errorf("page %d of %d, beyond the last: %d records, %v; want not found", page, size, len(got), err)
		}
		return
	}
	if err != nil || gotTotal != total || !slices.Equal(ids(got), want) {
		f.t.Errorf("page %d of %d from %s to %s: %d records of %d (%v), want %d of %d", page, size,
			filter.Days.StartDate(), filter.Days.EndDate(), len(got), gotTotal, err, len(want), total)
	}
}

func TestCountedPagesEqualNaiveQueries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f.addEvery(f.session, noon, 7*time.Minute, 1_000)
	f.updateCounts()
	f.exec("DELETE FROM records WHERE extract(minute FROM created_at) BETWEEN 10 AND 20")
	f.addEvery(f.session, time.Now(), time.Millisecond, 5)
	for _, zone := range []string{"UTC", "Asia/Kathmandu"} {
		for range 60 {
			from := noon.AddDate(0, 0, random.IntN(6)-1)
			filter := records.Filter{Days: days(t, from.Format(time.DateOnly), from.AddDate(0, 0, random.IntN(6)).Format(time.DateOnly), zone)}
			if random.IntN(5) == 0 {
				filter.Days = days(t, "2025-01-01", "2125-01-01", zone)
			}
			size := 1 + random.IntN(100)
			f.expectPage(filter, 1+random.IntN(1+1_000/size), size)
		}
	}
}

// Every offset within a day of counted hours is checked, because a deep page starts at the counted
// hour that contains its offset.
func TestDeepPagesEqualNaiveQueries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addEvery(f.session, noon.Truncate(24*time.Hour), 36*time.Second, 2_400)
	f.updateCounts()
	filter := records.Filter{Days: days(t, "2025-01-15", "2025-01-15", "UTC")}
	for page := range 120 {
		f.expectPage(filter, 1+page, 20)
	}
}

// INVARIANT: in every snapshot, the counted total equals the number of records, even while several processes count,
// insert and delete.
func TestTotalIsExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// given conversations with records of many months, of two chatbots
	bots := []uuid.UUID{f.bot, f.newBot()}
	sessions := f.addConversations(bots)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var deleting, others sync.WaitGroup
	failed := make(chan error, 100)
	run := func(group *sync.WaitGroup, name string, operation func(n int) error, until context.Context, times int) {
		group.Go(func() {
			for n := 0; n < times && until.Err() == nil; n++ {
				if err := operation(n); err != nil && until.Err() == nil {
					failed <- fmt.Errorf("%s: %w", name, err)
					return
				}
			}
		})
	}
	// when processes count, insert and compare until all conversations are deleted
	for range 2 {
		run(&others, "count", func(int) error { return f.records.UpdateCounts(t.Context()) }, ctx, 1e9)
	}
	run(&others, "insert", func(int) error {
		_, err := f.sql.Exec(t.Context(), `INSERT INTO records (organization_id, id, bot_id, session_id, status, type, input_message, output_message, asked_at, created_at)
			VALUES ($1, $2, $3, $4, 'completed', 'New', '', '', clock_timestamp(), clock_timestamp())`, f.organization, id(), f.bot, f.session)
		return err
	}, ctx, 1e9)
	run(&others, "compare", func(n int) error { return f.compareTotal(bots[n%2]) }, ctx, 1e9)
	for part := range 3 {
		run(&deleting, "delete", func(n int) error {
			return f.deleteSessions(sessions[part*20+2*n:part*20+2*n+2], n%4 == 3)
		}, t.Context(), 10)
	}
	deleting.Wait()
	cancel()
	others.Wait()
	close(failed)
	// then
	for err := range failed {
		t.Error(err)
	}
	f.updateCounts()
	for _, bot := range bots {
		if err := f.compareTotal(bot); err != nil {
			t.Error(err)
		}
	}
	if f.rows("record_counts") == 0 {
		t.Error("no hour was counted")
	}
}

// addConversations creates 60 conversations of 40 records each, alternating between the chatbots.
func (f *fixture) addConversations(bots []uuid.UUID) []uuid.UUID {
	f.t.Helper()
	var sessions []uuid.UUID
	for n := range 60 {
		session := f.newSession(bots[n%2], noon)
		sessions = append(sessions, session)
		var all []db.Record
		for i := range 40 {
			all = append(all, db.Record{BotID: bots[n%2], SessionID: session, CreatedAt: noon.Add(time.Duration(n*17+i*613) * time.Hour)})
		}
		f.add(all...)
	}
	return sessions
}

// deleteSessions deletes conversations in one transaction, which it may roll back.
func (f *fixture) deleteSessions(sessions []uuid.UUID, rollBack bool) error {
	err := pgx.BeginFunc(f.t.Context(), f.sql, func(tx pgx.Tx) error {
		for _, session := range sessions {
			if _, err := tx.Exec(f.t.Context(), "DELETE FROM sessions WHERE id = $1", session); err != nil {
				return err
			}
		}
		if rollBack {
			return errRollback
		}
		return nil
	})
	if errors.Is(err, errRollback) {
		return nil
	}
	return err
}

// errRollback rolls a deletion back.
var errRollback = errors.New("roll back")

// compareTotal compares the counted total with the number of records, in one snapshot.
func (f *fixture) compareTotal(bot uuid.UUID) error {
	return pgx.BeginTxFunc(f.t.Context(), f.sql, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		since, until := time.Date(2020, 1, 1, 0, 30, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 30, 0, 0, time.UTC)
		q := db.New(tx)
		got, err := q.SumRecordCounts(f.t.Context(), db.SumRecordCountsParams{
			OrganizationID: f.organization, BotID: bot, Since: since, Until: until, FirstHour: since.Add(30 * time.Minute), LastHour: until.Add(-30 * time.Minute),
		})
		if err != nil {
			return err
		}
		want, err := q.CountRecords(f.t.Context(), db.CountRecordsParams{OrganizationID: f.organization, BotID: bot, Since: since, Until: until})
		if err == nil && got.Total != want {
			err = fmt.Errorf("the total is %d, want %d", got.Total, want)
		}
		return err
	})
}

// Counting never waits for a lock, so it cannot be part of a deadlock. It skips a chatbot while the chatbot or its
// records are being deleted.
func TestUpdateCountsSkipsLockedChatbots(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addEvery(f.session, noon, time.Minute, 10)
	for _, statement := range []string{"DELETE FROM records", "DELETE FROM bots", "UPDATE bots SET name = 'x'"} {
		other, err := f.sql.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		f.updateCounts()
		if got, isCounted := f.rows("record_counts"), statement[0] == 'U'; (got > 0) != isCounted {
			t.Errorf("during %s %d hours were counted", statement, got)
		}
		if err := other.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartUpdatesCounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addEvery(f.session, noon, time.Minute, 10)
	stop := f.records.Start(slog.New(slog.DiscardHandler))
	f.eventually("the records are counted", func() bool { return f.rows("record_counts") == 1 })
	stop()
}
