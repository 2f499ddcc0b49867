package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/e2e/harness"
	"parley/internal/localpg"
)

const (
	crashCount         = 10
	crashConversations = 8
	crashConnections   = 16
)

// rowCrash is row 3.
func (b *bench) rowCrash() row {
	what := fmt.Sprintf("%d crashes under load, of PostgreSQL, of both, of the server in turn: ", crashCount)
	zero := func(what string) line {
		return line{what: what, must: atMost(0), aim: atMost(0), unit: "messages", format: note}
	}
	return row{
		number: "3", maxRounds: 1,
		lines: []line{zero(what + "acknowledged messages lost"), zero("same: messages stored twice"), zero("same: missing or wrong seqs")},
		measure: func(ctx context.Context, _ int) (_ []measurement, err error) {
			dir := filepath.Join(b.dir, "crash")
			if err := os.Mkdir(dir, 0o755); err != nil {
				return nil, err
			}
			t := &crashTest{bench: b, dir: dir}
			defer func() { err = errors.Join(err, t.stop()) }()
			return t.run(ctx)
		},
	}
}

// crashTest is a server with its own PostgreSQL. Both crash repeatedly.
type crashTest struct {
	*bench
	dir      string
	postgres *localpg.Server
	server   *harness.Process
}

// databaseURL uses a link to the socket, which stays the same after a restart of PostgreSQL.
func (t *crashTest) databaseURL() string {
	query := url.Values{"host": {filepath.Join(t.dir, "postgres.socket")}, "port": {"5432"}}
	return "postgres://parley@/postgres?" + query.Encode()
}

// start starts the processes that are not running.
func (t *crashTest) start(ctx context.Context) (err error) {
	if t.postgres == nil {
		if t.postgres, err = localpg.Start(ctx, localpg.Config{Dir: t.dir, BinDir: t.bin}); err != nil {
			return err
		}
	}
	if t.server == nil {
		t.server, err = t.startServer(ctx, "DATABASE_URL="+t.databaseURL(), "PARLEY_DATA_DIR="+t.dir)
	}
	return err
}

// stop stops the running processes.
func (t *crashTest) stop() error {
	var errs []error
	if t.server != nil {
		errs = append(errs, t.server.Stop())
	}
	if t.postgres != nil {
		errs = append(errs, t.postgres.Stop(context.Background())) // also after the run was cancelled
	}
	return errors.Join(errs...)
}

// crash kills the server with SIGKILL, and shuts PostgreSQL down immediately, which is a crash of
// its processes.
func (t *crashTest) crash(postgres, server bool) error {
	var errs []error
	if server {
		killed := t.server
		t.server = nil
		errs = append(errs, killed.Kill())
	}
	if postgres {
		killed := t.postgres
		t.postgres = nil
		errs = append(errs, syscall.Kill(killed.Pid(), syscall.SIGQUIT))
		<-killed.Done()
	}
	return errors.Join(errs...)
}

// run crashes the processes under load and checks what is stored.
func (t *crashTest) run(ctx context.Context) ([]measurement, error) {
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	job, err := t.prepare(ctx)
	if err != nil {
		return nil, err
	}
	recorder, err := harness.StartWorker(ctx, "recorder", job)
	if err != nil {
		return nil, err
	}
	for i := range crashCount {
		if err = t.awaitLoad(ctx); err != nil {
			break
		}
		<-time.After(time.Duration(rand.IntN(500)) * time.Millisecond) // at a random moment
		if err = t.crash(i%3 != 2, i%3 != 0); err != nil {
			break
		}
		if err = t.start(ctx); err != nil {
			break
		}
		if err = recorder.Input.Encode(t.server.Base); err != nil {
			break
		}
	}
	if err == nil {
		err = t.awaitLoad(ctx)
	}
	var recorded recording
	if err := errors.Join(err, recorder.Wait(ctx, &recorded)); err != nil {
		return nil, err
	}
	return t.check(ctx, recorded)
}

// prepare creates the conversations and returns the job of the recorder.
func (t *crashTest) prepare(ctx context.Context) (recorderJob, error) {
	job := recorderJob{Base: t.server.Base, Key: t.admin, Connections: crashConnections}
	for range crashConversations {
		var started struct {
			ID string `json:"conversation_id"`
		}
		if err := harness.Call(ctx, http.MethodPost, t.server.Base+"/api/conversations/start", t.admin, map[string]any{}, &started); err != nil {
			return job, err
		}
		off := map[string]any{"autoReplyEnabled": false}
		if err := harness.Call(ctx, http.MethodPatch, t.server.Base+"/api/conversations/"+started.ID+"/", t.admin, off, &struct{}{}); err != nil {
			return job, err
		}
		job.Conversations = append(job.Conversations, started.ID)
	}
	return job, nil
}

// awaitLoad waits until another 200 messages are stored. A server that has lost its PostgreSQL must reconnect first.
func (t *crashTest) awaitLoad(ctx context.Context) error {
	const enough = 200
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, t.databaseURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for first := -1; ; {
		var stored int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM message_history").Scan(&stored); err != nil {
			return fmt.Errorf("wait for stored messages: %w", err)
		}
		if first < 0 {
			first = stored
		}
		if stored >= first+enough {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for stored messages: %w", ctx.Err())
		}
	}
}

// check compares the stored messages with the acknowledged ones.
func (t *crashTest) check(ctx context.Context, recorded recording) ([]measurement, error) {
	if recorded.Failures == 0 || len(recorded.Acknowledged) < 100*crashCount {
		return nil, fmt.Errorf("too little load: %d messages acknowledged, %d failed", len(recorded.Acknowledged), recorded.Failures)
	}
	conn, err := pgx.Connect(ctx, t.databaseURL())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE acknowledged (id uuid, session_id uuid, content text, seq bigint)"); err != nil {
		return nil, err
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"acknowledged"}, []string{"id", "session_id", "content", "seq"},
		pgx.CopyFromSlice(len(recorded.Acknowledged), func(i int) ([]any, error) {
			m := recorded.Acknowledged[i]
			return []any{m.ID, m.Conversation, m.Content, m.Seq}, nil
		}))
	if err != nil {
		return nil, err
	}
	total := fmt.Sprintf("of %d acknowledged; %d requests failed", len(recorded.Acknowledged), recorded.Failures)
	var measurements []measurement
	for _, sql := range []string{
		`SELECT count(*) FROM acknowledged a WHERE NOT EXISTS (
			SELECT FROM message_history m WHERE (m.id, m.session_id, m.content, m.seq) = (a.id, a.session_id, a.content, a.seq))`,
		`SELECT count(*) - count(DISTINCT content) FROM message_history`,
		`SELECT coalesce(sum(abs(s.last_seq - m.count) + abs(m.last - m.count)), 0)::bigint
			FROM (SELECT organization_id, session_id AS id, count(*), max(seq) AS last FROM message_history GROUP BY 1, 2) m
			JOIN sessions s USING (organization_id, id)`,
	} {
		var count int
		if err := conn.QueryRow(ctx, sql).Scan(&count); err != nil {
			return nil, err
		}
		measurements = append(measurements, measurement{float64(count), sample{note: total}, sample{}})
	}
	return measurements, nil
}
