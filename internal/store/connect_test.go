package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/localpg"
	"parley/internal/store"
)

// startPostgres starts a PostgreSQL for one test, which may change its configuration.
func startPostgres(t *testing.T) *localpg.Server {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "store-test-") // the directory must be accessible to PostgreSQL's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server, err := localpg.Start(t.Context(), localpg.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server
}

func TestDatabaseMustStoreUTF8(t *testing.T) {
	t.Parallel()
	admin := connect(t, dbtest.Empty(t))
	name := fmt.Sprintf("latin1_%x", store.NewID())
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name+" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(context.Background(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	config := admin.Config()
	_, err := store.Open(t.Context(), fmt.Sprintf("host='%s' user=%s dbname=%s", config.Host, config.User, name))
	if err == nil || !strings.Contains(err.Error(), "the database has the encoding LATIN1: create it with ENCODING 'UTF8'") {
		t.Errorf("the error is %v", err)
	}
}

func TestURLErrorsNameTheCauseAndNoPassword(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"postgres://u:secret@h/d?sslmode=verify-ful":                              "sslmode",
		"postgres://u:secret@h/d?sslmode=verify-full&sslrootcert=/no/such/ca.pem": "/no/such/ca.pem",
		"postgres://u:secret@h:port/d":                                            "must be a PostgreSQL URL",
	} {
		err := store.CheckURL(given)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error is %v", given, err)
		}
	}
}

// An error of the file system implements net.Error, but it is not an error of the connection.
func TestFileErrorsInATransactionAreNotDatabaseErrors(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	_, want := os.Open(filepath.Join(t.TempDir(), "missing"))
	err := s.InTx(t.Context(), func(*gendb.Queries) error { return want })
	if !errors.Is(err, os.ErrNotExist) || apperr.Is(err, apperr.Unavailable) {
		t.Errorf("the error is %v", err)
	}
}

// silentListener accepts connections and never answers.
func silentListener(t *testing.T) net.Addr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr()
}

// The first connection waits for the timeout of a silent host. Later ones wait a tenth of it.
func TestSilentHostDelaysOnlyTheFirstConnection(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig(newNetwork(t).url)
	if err != nil {
		t.Fatal(err)
	}
	hosts := silentListener(t).String() + "," + net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	s, err := store.Open(t.Context(), "postgres://"+config.User+"@"+hosts+"/"+config.Database+"?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	started := time.Now()
	_, unregister, err := s.Register(t.Context()) // on a new connection
	if err != nil {
		t.Fatal(err)
	}
	unregister()
	if took := time.Since(started); took >= 5*time.Second {
		t.Errorf("a further connection took %v", took)
	}
}

// A repeat reads data that another transaction committed. With synchronous replication, the repeat must not be
// answered before the standby has the data. Otherwise a failover could lose acknowledged data.
func TestReplaysWaitForSynchronousStandbys(t *testing.T) {
	t.Parallel()
	url := startPostgres(t).URL("postgres")
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := newKey(t, s)
	effect := func() error {
		_, err := store.Idempotent(t.Context(), s, &key, create(t, "Acme"))
		return err
	}
	if err := effect(); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, url)
	setStandby := func(name string) {
		for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + name + "'", "SELECT pg_reload_conf()"} {
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	waiting := func() (count int) {
		if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&count); err != nil {
			t.Fatal(err)
		}
		return count
	}
	setStandby("missing")
	var writer sync.WaitGroup
	var isRestored atomic.Bool
	writer.Go(func() { // repeat writes until PostgreSQL has read its configuration and waits for the standby
		other := connect(t, url)
		for !isRestored.Load() {
			if _, err := other.Exec(t.Context(), "SELECT pg_logical_emit_message(true, '', '')"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	eventually(t, "a write waits for the standby", func() bool { return waiting() == 1 })
	replayed := make(chan error, 1)
	go func() { replayed <- effect() }()
	eventually(t, "the repeat waits for the standby too", func() bool { return waiting() == 2 || len(replayed) > 0 })
	if len(replayed) > 0 {
		t.Errorf("the repeat was answered before the standby had it")
	}
	isRestored.Store(true)
	setStandby("")
	writer.Wait()
	if err := <-replayed; err != nil {
		t.Error(err)
	}
}
