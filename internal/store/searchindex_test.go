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

func TestTheSearchIndexIsThereOrNotAsWanted(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s, conn := open(t, url), connect(t, url)
	for _, isWanted := range []bool{true, true, false, false, true} {
		set(t, s, isWanted)
		if exists, isValid := searchIndex(t, conn); exists != isWanted || isValid != isWanted {
			t.Errorf("wanted is %t; there is %t, whole %t", isWanted, exists, isValid)
		}
	}
}

func TestABuildThatWasCutOffIsDoneAnew(t *testing.T) {
	t.Parallel()
	// given a build that has to wait for somebody
	url := dbtest.URL(t)
	s, conn, other := open(t, url), connect(t, url), connect(t, url)
	set(t, s, false)
	organization(t, s, "Acme")
	execute(t, other, "BEGIN")
	execute(t, other, "UPDATE organizations SET name = 'Acme & Sons'")
	execute(t, other, "LOCK TABLE message_history IN ROW EXCLUSIVE MODE")
	ctx, stop := context.WithCancel(t.Context())
	log := &lines{}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.MaintainSearchIndex(ctx, slog.New(slog.NewTextHandler(log, nil)), true)
	}()
	for exists := false; !exists; exists, _ = searchIndex(t, conn) {
		if t.Context().Err() != nil {
			t.Fatal("it is never begun")
		}
	}
	// when the server stops
	began := time.Now()
	stop()
	<-stopped
	// then it does so at once, and leaves what is of no use
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it stops after %s", took)
	}
	if exists, isValid := searchIndex(t, conn); !exists || isValid {
		t.Errorf("there is %t, whole %t", exists, isValid)
	}
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("a stop is an error: %s", log)
	}
	// and the next one builds it
	execute(t, other, "COMMIT")
	set(t, s, true)
	if exists, isValid := searchIndex(t, conn); !exists || !isValid {
		t.Errorf("then there is %t, whole %t", exists, isValid)
	}
}

func TestOfSeveralInstancesOneBuildsTheSearchIndex(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	conn := connect(t, url)
	first := open(t, url)
	set(t, first, false)
	log := &lines{}
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
		t.Errorf("there is %t, whole %t", exists, isValid)
	}
	if built := strings.Count(log.String(), "the search index is there"); built != 1 {
		t.Errorf("it is built %d times: %s", built, log)
	}
}

func TestWithoutTheRightToBuildTheSearchIndexTheLogSaysSo(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	set(t, open(t, url), false)
	// given somebody who may read and write all data, and nothing else
	s := open(t, url+"&options=-c%20role%3Dpg_read_all_data")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log := &lines{heard: make(chan struct{}, 100)}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.MaintainSearchIndex(ctx, slog.New(slog.NewTextHandler(log, nil)), true)
	}()
	for !strings.Contains(log.String(), "must be owner of table message_history") {
		select {
		case <-log.heard:
		case <-stopped:
			t.Fatalf("it gives up: %s", log)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	stop()
	<-stopped
	if exists, _ := searchIndex(t, connect(t, url)); exists {
		t.Error("it is built nevertheless")
	}
}

func TestWhatIsNewIsPutInItsPlaceInTheSearchIndex(t *testing.T) {
	t.Parallel()
	// given an index with a list of what is new
	url := dbtest.URL(t)
	s, conn := open(t, url), connect(t, url)
	execute(t, conn, "CREATE EXTENSION pgstattuple")
	set(t, s, true)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	pending := func() (pages int) {
		if err := conn.QueryRow(t.Context(), "SELECT pending_pages FROM pgstatginindex('message_history_by_content')").Scan(&pages); err != nil {
			t.Fatal(err)
		}
		return pages
	}
	execute(t, conn, "SET session_replication_role = replica") // of no session
	execute(t, conn, `INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'user', '我想要退票', now())`)
	if pending() == 0 {
		t.Fatal("nothing waits")
	}
	// when two servers keep it, and the first one goes
	first, leave := context.WithCancel(ctx)
	for _, ctx := range []context.Context{first, ctx} {
		work.Go(func() { s.MaintainSearchIndex(ctx, slog.New(slog.DiscardHandler), true) })
	}
	for pending() > 0 {
	}
	leave()
	execute(t, conn, `INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, created_at)
		VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'user', '我想要退票', now())`)
	// then the other one does
	for pending() > 0 {
	}
}

func set(t *testing.T, s *store.Store, isWanted bool) {
	t.Helper()
	if err := s.SetSearchIndex(t.Context(), slog.New(slog.DiscardHandler), isWanted); err != nil {
		t.Fatal(err)
	}
}

func searchIndex(t *testing.T, conn *pgx.Conn) (exists, isValid bool) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `
		SELECT count(*) > 0, coalesce(bool_and(indisvalid AND indisready), false)
		FROM pg_index WHERE indexrelid = to_regclass('message_history_by_content')`).Scan(&exists, &isValid)
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

// lines keeps what is logged. heard, where there is one, is sent to with each line.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	heard chan struct{}
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard != nil {
		l.heard <- struct{}{}
	}
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
