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
	stopCount       = 10
	stopTalks       = 8
	stopConnections = 16
)

// stops is row 3.
func (b *bench) stops() row {
	what := fmt.Sprintf("%d immediate stops under load, in turns of PostgreSQL, of both, of the server: messages ", stopCount)
	return row{
		number: "3", most: 1,
		lines: []line{
			{what: what + "acknowledged and lost", must: atMost(0), aim: atMost(0), unit: "messages", shows: noted},
			{what: "the same: stored twice", must: atMost(0), aim: atMost(0), unit: "messages", shows: noted},
			{what: "the same: missing or wrong in the seq of their conversation", must: atMost(0), aim: atMost(0), unit: "messages", shows: noted},
		},
		measure: func(ctx context.Context, _ int) (_ []finding, err error) {
			dir := filepath.Join(b.dir, "stops")
			if err := os.Mkdir(dir, 0o755); err != nil {
				return nil, err
			}
			t := &target{bench: b, dir: dir}
			defer func() { err = errors.Join(err, t.end()) }()
			return t.stopUnderLoad(ctx)
		},
	}
}

// target is a server with a PostgreSQL of its own, both to be stopped.
type target struct {
	*bench
	dir      string
	postgres *localpg.Server
	server   *harness.Process
}

// address is by the link that stays the same when PostgreSQL is started again.
func (t *target) address() string {
	query := url.Values{"host": {filepath.Join(t.dir, "postgres.socket")}, "port": {"5432"}}
	return "postgres://parley@/postgres?" + query.Encode()
}

// start starts what does not run.
func (t *target) start(ctx context.Context) (err error) {
	if t.postgres == nil {
		if t.postgres, err = localpg.Start(ctx, localpg.Config{Dir: t.dir, BinDir: t.bin}); err != nil {
			return err
		}
	}
	if t.server == nil {
		t.server, err = t.startServer(ctx, "DATABASE_URL="+t.address(), "PARLEY_DATA_DIR="+t.dir)
	}
	return err
}

// end ends what runs.
func (t *target) end() error {
	var errs []error
	if t.server != nil {
		errs = append(errs, t.server.Stop())
	}
	if t.postgres != nil {
		errs = append(errs, t.postgres.Stop(context.Background())) // also when the bench is to end
	}
	return errors.Join(errs...)
}

// kill stops them as a crash would: the server by SIGKILL, PostgreSQL by its
// immediate shutdown.
func (t *target) kill(isPostgres, isServer bool) error {
	var errs []error
	if isServer {
		killed := t.server
		t.server = nil
		errs = append(errs, killed.Kill())
	}
	if isPostgres {
		killed := t.postgres
		t.postgres = nil
		errs = append(errs, syscall.Kill(killed.Pid(), syscall.SIGQUIT))
		<-killed.Done()
	}
	return errors.Join(errs...)
}

func (t *target) stopUnderLoad(ctx context.Context) ([]finding, error) {
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	job := testimony{Base: t.server.Base, Key: t.admin, Connections: stopConnections}
	for range stopTalks {
		var begun struct {
			ID string `json:"conversation_id"`
		}
		if err := harness.Call(ctx, http.MethodPost, t.server.Base+"/api/conversations/start", t.admin, map[string]any{}, &begun); err != nil {
			return nil, err
		}
		off := map[string]any{"autoReplyEnabled": false}
		if err := harness.Call(ctx, http.MethodPatch, t.server.Base+"/api/conversations/"+begun.ID+"/", t.admin, off, &struct{}{}); err != nil {
			return nil, err
		}
		job.Conversations = append(job.Conversations, begun.ID)
	}
	witness, err := harness.StartWorker(ctx, "witness", job)
	if err != nil {
		return nil, err
	}
	for i := range stopCount {
		if err = t.awaitLoad(ctx); err != nil {
			break
		}
		// At any moment.
		<-time.After(time.Duration(rand.IntN(500)) * time.Millisecond)
		if err = t.kill(i%3 != 2, i%3 != 0); err != nil {
			break
		}
		if err = t.start(ctx); err != nil {
			break
		}
		if err = witness.Input.Encode(t.server.Base); err != nil {
			break
		}
	}
	if err == nil {
		err = t.awaitLoad(ctx)
	}
	var saw witnessed
	if err := errors.Join(err, witness.Wait(ctx, &saw)); err != nil {
		return nil, err
	}
	return t.judge(ctx, saw)
}

// awaitLoad waits until messages are stored again: a server that has lost its
// PostgreSQL has to find it again.
func (t *target) awaitLoad(ctx context.Context) error {
	const enough = 200
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, t.address())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for first := -1; ; {
		var stored int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM message_history").Scan(&stored); err != nil {
			return fmt.Errorf("wait until messages are stored again: %w", err)
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
			return fmt.Errorf("wait until messages are stored again: %w", ctx.Err())
		}
	}
}

// judge holds what is stored against what was acknowledged.
func (t *target) judge(ctx context.Context, saw witnessed) ([]finding, error) {
	if saw.Failures == 0 || len(saw.Acknowledged) < 100*stopCount {
		return nil, fmt.Errorf("that was no load: %d messages were acknowledged, %d failed", len(saw.Acknowledged), saw.Failures)
	}
	conn, err := pgx.Connect(ctx, t.address())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE acknowledged (id uuid, session_id uuid, content text, seq bigint)"); err != nil {
		return nil, err
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"acknowledged"}, []string{"id", "session_id", "content", "seq"},
		pgx.CopyFromSlice(len(saw.Acknowledged), func(i int) ([]any, error) {
			one := saw.Acknowledged[i]
			return []any{one.ID, one.Conversation, one.Content, one.Seq}, nil
		}))
	if err != nil {
		return nil, err
	}
	note := fmt.Sprintf("of %d acknowledged; %d requests failed", len(saw.Acknowledged), saw.Failures)
	var findings []finding
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
		findings = append(findings, finding{float64(count), sample{note: note}, sample{}})
	}
	return findings, nil
}
