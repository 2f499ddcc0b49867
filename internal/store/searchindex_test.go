package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestSetSearchIndexBuildsAndDrops(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s, conn := open(t, url), connect(t, url)
	for _, isWanted := range []bool{true, true, false, false, true} {
		setSearchIndex(t, s, isWanted)
		if exists, isValid := searchIndex(t, conn); exists != isWanted || isValid != isWanted {
			t.Errorf("wanted %t: exists %t, valid %t", isWanted, exists, isValid)
		}
	}
}

func TestInterruptedBuildIsRepeated(t *testing.T) {
	t.Parallel()
	// given a build that waits for another transaction
	url := dbtest.URL(t)
	s, conn, other := open(t, url), connect(t, url), connect(t, url)
	setSearchIndex(t, s, false)
	organization(t, s, "Acme")
	execute(t, other, "BEGIN")
	execute(t, other, "UPDATE organizations SET name = 'Acme & Sons'")
	execute(t, other, "LOCK TABLE message_history IN ROW EXCLUSIVE MODE")
	ctx, stop := context.WithCancel(t.Context())
	log := &lineLog{}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.MaintainSearchIndex(ctx, slog.New(slog.NewTextHandler(log, nil)), true)
	}()
	for exists := false; !exists; exists, _ = searchIndex(t, conn) {
		if t.Context().Err() != nil {
			t.Fatal("the build never starts")
		}
	}
	// when the server stops
	start := time.Now()
	stop()
	<-stopped
	// then it stops immediately and leaves an invalid index
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it stopped after %s", took)
	}
	if exists, isValid := searchIndex(t, conn); !exists || isValid {
		t.Errorf("exists %t, valid %t", exists, isValid)
	}
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("the interruption was logged as an error: %s", log)
	}
	// and the next process builds it
	execute(t, other, "COMMIT")
	setSearchIndex(t, s, true)
	if exists, isValid := searchIndex(t, conn); !exists || !isValid {
		t.Errorf("after the rebuild: exists %t, valid %t", exists, isValid)
	}
}

func TestOneInstanceBuildsTheSearchIndex(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	conn := connect(t, url)
	first := open(t, url)
	setSearchIndex(t, first, false)
	log := &lineLog{}
	var work sync.WaitGroup
	for _, s := range []*store.Store{first, open(t, url), open(t, url)} {
		work.Go(func() {
			if err := s.SetSearchIndex(t.Context(), slog.New(slog.NewTextHandler(log, nil)), true); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if exists, isValid := searchIndex(t, conn); !exists || !isValid {
		t.Errorf("exists %t, valid %t", exists, isValid)
	}
	if built := strings.Count(log.String(), "build search index: complete"); built != 1 {
		t.Errorf("it was built %d times: %s", built, log)
	}
}

func TestMissingPrivilegeForTheSearchIndexIsLogged(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	setSearchIndex(t, open(t, url), false)
	// given a role that does not own the table
	s := open(t, url+"&options=-c%20role%3Dpg_read_all_data")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log := &lineLog{written: make(chan struct{}, 100)}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.MaintainSearchIndex(ctx, slog.New(slog.NewTextHandler(log, nil)), true)
	}()
	for !strings.Contains(log.String(), "must be owner of table message_history") {
		select {
		case <-log.written:
		case <-stopped:
			t.Fatalf("it gave up: %s", log)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	stop()
	<-stopped
	if exists, _ := searchIndex(t, connect(t, url)); exists {
		t.Error("the index was built")
	}
}

func TestPendingListOfTheSearchIndexIsMerged(t *testing.T) {
	t.Parallel()
	// given an index with a pending list
	url := dbtest.URL(t)
	s, conn := open(t, url), connect(t, url)
	execute(t, conn, "CREATE EXTENSION pgstattuple")
	setSearchIndex(t, s, true)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	pending := func() (pages int) {
		if err := conn.QueryRow(t.Context(), "SELECT pending_pages FROM pgstatginindex('message_history_by_form')").Scan(&pages); err != nil {
			t.Fatal(err)
		}
		return pages
	}
	execute(t, conn, "SET session_replication_role = replica") // bypass the foreign keys
	execute(t, conn, `INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'user', '我想要退票', now())`)
	if pending() == 0 {
		t.Fatal("the pending list is empty")
	}
	// when two processes maintain it, and the first one ends
	first, stopFirst := context.WithCancel(ctx)
	for _, ctx := range []context.Context{first, ctx} {
		work.Go(func() { s.MaintainSearchIndex(ctx, slog.New(slog.DiscardHandler), true) })
	}
	for pending() > 0 {
	}
	stopFirst()
	execute(t, conn, `INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'user', '我想要退票', now())`)
	// then the other one continues
	for pending() > 0 {
	}
}

// The index of version 0.1.0 is dropped, whether or not a new one is wanted.
func TestSearchIndexReplacesThatOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	for _, isWanted := range []bool{false, true} {
		url := dbtest.URL(t)
		s, err := store.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		execute(t, conn, "CREATE INDEX message_history_by_content ON message_history USING gin (organization_id, searchable(content) gin_trgm_ops)")
		setSearchIndex(t, s, isWanted)
		var isOldDropped bool
		if err := conn.QueryRow(t.Context(), "SELECT to_regclass('message_history_by_content') IS NULL").Scan(&isOldDropped); err != nil {
			t.Fatal(err)
		}
		if exists, isValid := searchIndex(t, conn); !isOldDropped || exists != isWanted || isValid != isWanted {
			t.Errorf("wanted %v: the old index is dropped: %v, the new one exists: %v, is valid: %v", isWanted, isOldDropped, exists, isValid)
		}
	}
}

func setSearchIndex(t *testing.T, s *store.Store, isWanted bool) {
	t.Helper()
	if err := s.SetSearchIndex(t.Context(), slog.New(slog.DiscardHandler), isWanted); err != nil {
		t.Fatal(err)
	}
}

func searchIndex(t *testing.T, conn *pgx.Conn) (exists, isValid bool) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `
		SELECT count(*) > 0, coalesce(bool_and(indisvalid AND indisready), false)
		FROM pg_index WHERE indexrelid = to_regclass('message_history_by_form')`).Scan(&exists, &isValid)
	if err != nil {
		t.Fatal(err)
	}
	return exists, isValid
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// lineLog collects log lines and sends a value to written for each line, unless written is nil.
type lineLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func (l *lineLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written != nil {
		l.written <- struct{}{}
	}
	return l.text.Write(line)
}

func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
